"""Losses on maps: cells, tokens and pixels instead of whole images."""
