"""Texts as numbers: words hashed to codes and a small transformer over them, or the vectors of a trained encoder."""

from likewise.encoders.words.tokens import encode, split
from likewise.encoders.words.transformer import TextTransformer

__all__ = ["TextTransformer", "encode", "split"]
