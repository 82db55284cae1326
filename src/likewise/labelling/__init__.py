"""Labelling of images by a person on a local page; each label is on the disk before the next key."""
