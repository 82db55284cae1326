"""Embed a data set into an index or a file: a stream of images that goes on where it was ended."""
