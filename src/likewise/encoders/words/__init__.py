"""Encoders of text: a small transformer over hashed words, or the vectors of a trained encoder."""

from likewise.encoders.words.tokens import encode, split
from likewise.encoders.words.transformer import TextTransformer

__all__ = ["TextTransformer", "encode", "split"]
