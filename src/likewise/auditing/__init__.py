"""Audit of an encoder: accuracy on distorted images, decisions among 16 categories, consistency with people."""
