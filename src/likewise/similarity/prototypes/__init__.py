"""Assignments of images to prototypes, and the losses on them."""
