"""Shared parts of methods that use captions: settings, the texts of the data, the text encoder, the draws.

Shapes: N images, C texts of a column, U different captions, B a batch, L words, E numbers of a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from likewise.data.source import Column
from likewise.data.texts import texts_of
from likewise.distributed import gather, positions, world
from likewise.encoders import heads
from likewise.encoders.words import TextTransformer, encode
from likewise.encoders.words.sentences import check_sentences, sentence_vectors, sentence_width
from likewise.encoders.words.tokens import NOTHING
from likewise.errors import InputError
from likewise.methods.parts.checks import at_least, positive


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """The source of captions, and their text encoder."""

    captions: str = "caption"
    """Column of the captions, several being lines of one text. `caption` finds `captions`, `text`, `sentence`, ...
    too, and files .txt and .json beside the images."""
    sentences: str = ""
    """A trained sentence encoder that is kept as it is: `minilm`, or a name or folder of sentence-transformers. Empty:
    a small transformer over words is trained along."""
    vocabulary: int = 8192
    """Codes that words are hashed to, one of them being that of no word."""
    words: int = 32
    """Words of a caption that are read; what follows is cut."""
    text_width: int = 128
    """Width of the text transformer."""
    text_layers: int = 2
    """Blocks of the text transformer."""
    text_rate: float = 1.0
    """Learning rate of the text side as a multiple of that of the images."""

    def __post_init__(self) -> None:
        at_least("vocabulary", self.vocabulary, 2)
        at_least("words", self.words, 1)
        at_least("text_width", self.text_width, 1)
        at_least("text_layers", self.text_layers, 0)
        positive("text_rate", self.text_rate)
        check_sentences(self.sentences)

    def idle(self) -> Mapping[str, str]:
        """What only the text transformer has."""
        own = ("vocabulary", "words", "text_width", "text_layers")
        return dict.fromkeys(own, "the own text transformer (sentences='')") if self.sentences else {}


def caption_column(facts_columns: Mapping[str, Column], name: str) -> Column:
    """The column of the captions; an empty one where a run is restored without its data."""
    return facts_columns.get(name, Column(np.zeros(0, np.int64), ()))


class Reader:
    """Texts as what a tower takes: (T, L) int32 codes of words, or (T, E) vectors of a frozen sentence encoder."""

    def __init__(self, settings: CaptionSettings) -> None:
        self.settings = settings

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """One row for each text."""
        settings = self.settings
        if settings.sentences:
            return sentence_vectors(settings.sentences, texts)
        return torch.from_numpy(encode(texts, settings.words, settings.vocabulary))


class Captions(nn.Module):
    """The captions of all images, as a tower takes them. It is made of the data and saved with nothing."""

    first: Tensor
    count: Tensor
    rows: Tensor
    texts: Tensor

    def __init__(self, column: Column, settings: CaptionSettings) -> None:
        super().__init__()
        found = texts_of(column)
        tables = {
            "first": torch.from_numpy(np.append(found.first_C, 0)),  # the last for the code -1
            "count": torch.from_numpy(np.append(found.count_C, 0)),
            "rows": torch.from_numpy(np.append(found.rows_M, 0)),
            "texts": Reader(settings)(found.strings or ("",)),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def has(self, codes_B: Tensor) -> Tensor:
        """(B,) which images have a caption."""
        return self.count[codes_B] > 0

    def pick(self, codes_B: Tensor, draws_B: Tensor) -> Tensor:
        """(B,) one caption of each image, by a number in [0, 1); that of an image without any means nothing."""
        count_B = self.count[codes_B]
        turn_B = (draws_B.to(codes_B.device) * count_B).long()
        return self.rows[self.first[codes_B] + turn_B]

    def pick_two(self, codes_B: Tensor, draws_B2: Tensor) -> tuple[Tensor, Tensor]:
        """Two captions of each image, different ones where it has several."""
        count_B, draws_B2 = self.count[codes_B], draws_B2.to(codes_B.device)
        turn_B = (draws_B2[:, 0] * count_B).long()
        away_B = 1 + (draws_B2[:, 1] * (count_B - 1).clamp_min(0)).long()
        second_B = (turn_B + away_B) % count_B.clamp_min(1)
        return self.rows[self.first[codes_B] + turn_B], self.rows[self.first[codes_B] + second_B]

    def read(self, picked_B: Tensor) -> Tensor:
        """(B, L) or (B, E): what the tower takes of these captions."""
        return self.texts[picked_B]


class TextTower(nn.Module):
    """Codes of words, or vectors of a sentence encoder, to (B, D)."""

    def __init__(self, settings: CaptionSettings, dim: int) -> None:
        super().__init__()
        self.body = text_body(settings)
        self.head = heads.mlp([self.body.features, dim])

    def forward(self, texts: Tensor) -> Tensor:
        """(B, D), any length."""
        out: Tensor = self.head(self.body(texts))
        return out


class Vectors(nn.Module):
    """Takes the place of the text transformer where vectors of the texts exist already."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, vectors_BE: Tensor) -> Tensor:
        """As they are."""
        return vectors_BE


def text_body(settings: CaptionSettings) -> TextTransformer | Vectors:
    """The text encoder before the head."""
    if settings.sentences:
        return Vectors(sentence_width(settings.sentences))
    return TextTransformer(
        codes=settings.vocabulary, length=settings.words, width=settings.text_width, layers=settings.text_layers
    )


def without_words(codes_BL: Tensor, draws_BL: Tensor, share: float) -> Tensor:
    """Codes with a share of the words left out, but never all of a text; vectors as they are."""
    if codes_BL.is_floating_point() or not share:
        return codes_BL
    draws_BL = draws_BL.to(codes_BL.device)
    kept_BL = draws_BL >= share
    first_BL = draws_BL == draws_BL.where(codes_BL != NOTHING, -1.0).amax(1, keepdim=True)
    return codes_BL.where(kept_BL | first_BL, NOTHING)


def draws(step: int, like_B: Tensor, width: int, salt: int = 0) -> Tensor:
    """(B, width) numbers in [0, 1) on the CPU: this process's rows of what is drawn for the whole batch of a step."""
    generator = torch.Generator().manual_seed(1_000_003 * step + salt)
    whole = torch.rand(len(like_B) * world(), width, generator=generator)
    return whole[positions(like_B).cpu()]


def part_of_mean(counted_B: Tensor) -> Tensor:
    """Scalar: what the mean over the counted rows of this process is multiplied by, to average over processes.

    The mean of those products over processes is the mean over all rows that count, wherever they are.
    """
    every = gather(counted_B).sum().clamp_min(1)
    return counted_B.sum() * world() / every


def check_captioned(columns: Mapping[str, Column], name: str) -> None:
    """Raise InputError where no image has a caption."""
    column = columns.get(name)
    if column is None or not len(column.values) or int(column.values.max()) < 0:
        raise InputError(f"no image has a caption in the column {name!r}: --captions names another")
