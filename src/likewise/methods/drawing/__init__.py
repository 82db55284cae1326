"""Figures of the methods' losses, drawn from what they compute on a few small tensors; for the pages of methods."""

from __future__ import annotations

from likewise.methods.drawing.ideas import Idea, drawings, idea_of

__all__ = ["Idea", "drawings", "idea_of"]
