"""Settings and networks of multimodal: a head for each of five terms, and none for a term of weight 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data.source import Column
from likewise.data.texts import texts_of
from likewise.encoders import Encoder, heads
from likewise.errors import InputError
from likewise.methods.parts.checks import at_least, between
from likewise.methods.parts.moco import MocoSettings
from likewise.methods.parts.texts.captions import CaptionSettings, text_body

WEIGHTS = ("image_weight", "tag_weight", "caption_weight", "to_caption_weight", "to_image_weight")


@dataclass(frozen=True, kw_only=True)
class FiveTerms(MocoSettings, CaptionSettings):
    """Settings of multimodal, with the defaults of its small preset."""

    embedding: int = 64
    """Length of the vectors of one side compared with itself."""
    cross_embedding: int = 128
    """Length of the vectors of images compared with captions."""
    tags: str = ""
    """Column of tags, several being lines of one text; empty: no tags."""
    tag_threshold: float = 1.0
    """More tags than this two images share to be alike."""
    margin: float = 0.2
    """Of the ranking terms."""
    cross_form: Literal["rank_mean", "rank_sum", "nce"] = "rank_mean"
    """How images and captions are compared: ranking, as a mean or as a sum over the queue, or a softmax."""
    image_weight: float = 1.0
    """Weight of images with images."""
    tag_weight: float = 1.0
    """Weight of images that share tags."""
    caption_weight: float = 1.0
    """Weight of captions with captions."""
    to_caption_weight: float = 1.0
    """Weight of images with captions."""
    to_image_weight: float = 1.0
    """Weight of captions with images."""
    dropped_words: float = 0.1
    """Share of a caption's words that each view of it leaves out."""

    def __post_init__(self) -> None:
        MocoSettings.__post_init__(self)
        CaptionSettings.__post_init__(self)
        at_least("cross_embedding", self.cross_embedding, 1)
        between("dropped_words", self.dropped_words, 0.0, 0.9)
        for name in (*WEIGHTS, "tag_threshold", "margin"):
            at_least(name, getattr(self, name), 0.0)
        alone = self.to_image_weight or self.caption_weight
        if not (self.image_weight or self.to_caption_weight or (self.tags and self.tag_weight)):
            which = "only captions would learn" if alone else "nothing would learn"
            raise InputError(f"{which}: image_weight, tag_weight with tags, or to_caption_weight above 0 is needed")

    @property
    def reads(self) -> bool:
        """Whether any term uses captions."""
        return bool(self.caption_weight or self.to_caption_weight or self.to_image_weight)

    def idle(self) -> Mapping[str, str]:
        """What belongs to terms that are not there."""
        found = dict(super().idle())
        crosses = self.to_caption_weight or self.to_image_weight
        if not self.tags:
            found |= dict.fromkeys(("tag_weight", "tag_threshold"), "tags")
        if not crosses:
            found |= dict.fromkeys(("cross_embedding", "margin", "cross_form"), "to_caption_weight above 0")
        if self.cross_form == "nce":
            found["margin"] = "cross_form=rank_mean"
        if self.sentences or not self.reads:
            found["dropped_words"] = "the own text transformer (sentences='')"
        return found


class Networks(nn.Module):
    """The image encoder, what reads texts, and a head for each term on either side."""

    def __init__(self, encoder: Encoder, settings: FiveTerms) -> None:
        super().__init__()
        self.image = encoder
        self.of_image, self.of_text = nn.ModuleDict(), nn.ModuleDict()

        def made(width: int, dim: int) -> nn.Module:
            return heads.mlp([width, width, dim], hidden_norm=None)

        for name, weight in (("own", settings.image_weight), ("tags", settings.tags and settings.tag_weight)):
            if weight:
                self.of_image[name] = made(encoder.features, settings.embedding)
        if not settings.reads:
            return
        self.text = text_body(settings)
        if settings.caption_weight:
            self.of_text["own"] = made(self.text.features, settings.embedding)
        if settings.to_caption_weight or settings.to_image_weight:
            self.of_image["cross"] = made(encoder.features, settings.cross_embedding)
            self.of_text["cross"] = made(self.text.features, settings.cross_embedding)

    def untaught(self, settings: FiveTerms) -> list[nn.Module]:
        """Heads that keys alone are made with: their own queries have no term."""
        cross = ((settings.to_caption_weight, self.of_image), (settings.to_image_weight, self.of_text))
        found = [heads["cross"] for weight, heads in cross if not weight and "cross" in heads]
        asks = settings.caption_weight or settings.to_image_weight
        return found if asks or not settings.reads else [*found, self.text]

    def forward(self, image: Tensor, texts: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Output of each head for images, (B, D) each, and for texts."""
        features_BF = self.image(image)
        return self.heads_of(self.of_image, features_BF), self.of_texts(texts)

    def of_texts(self, texts: Tensor | None) -> dict[str, Tensor]:
        """Output of each head for texts."""
        return {} if texts is None else self.heads_of(self.of_text, self.text(texts))

    @staticmethod
    def heads_of(heads: nn.ModuleDict, features_BF: Tensor) -> dict[str, Tensor]:
        """Each head on the same features."""
        return {name: head(features_BF) for name, head in heads.items()}


def taught(*parts: nn.Module) -> list[nn.Parameter]:
    """Parameters that learn."""
    return [weight for part in parts for weight in part.parameters() if weight.requires_grad]


def tag_sets(column: Column | None) -> Tensor:
    """(C + 1, T) of 0 and 1: which of T tags each text of a column names; the last row, for the code -1, names none."""
    if column is None:
        return torch.zeros(1, 1, dtype=torch.float32)
    found = texts_of(column)
    sets = np.zeros((len(found.count_C) + 1, max(1, len(found.strings))), np.float32)
    for code, (first, count) in enumerate(zip(found.first_C, found.count_C, strict=True)):
        sets[code, found.rows_M[first : first + count]] = 1.0
    return torch.from_numpy(sets)
