"""Decoding of encoded images to pixels: formats, bit depths, ranges."""
