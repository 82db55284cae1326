"""The old encoder that a new one must stay comparable with: its vectors, and its classifier if it has one.

Shapes: B images of a batch, N images of the data set, D dimensions of the old vectors, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from likewise.classifier import layer_of
from likewise.data.vectors import Table, is_table, read_table
from likewise.encoders.files.chosen import choose
from likewise.errors import InputError
from likewise.methods.method import Facts
from likewise.runs import RunDirectory
from likewise.similarity.compatible import class_means
from likewise.teachers import check_pretrained, of_index, pretrained

Form = Literal["linear", "cosine"]
_METHOD = "method.safetensors"
"""Where a run keeps its method; `likewise.methods.whole` writes it."""
_CLASSIFIERS: dict[str, Form] = {"classifier.weight": "linear", "classifier.layer.weight_v": "cosine"}
"""What the classifiers of `likewise.methods.parts.classifiers` are called in it."""


class OldClassifier(NamedTuple):
    """The layer that the old encoder was trained with."""

    weight_CD: Tensor
    bias_C: Tensor | None
    form: Form
    class_names: tuple[str, ...] | None
    """Of its rows, or None where only their numbers are known."""


def check_old(old: str) -> None:
    """Raise InputError where `old` is no run, file of weights or vectors, index, nor timm model. Empty is let pass."""
    old = of_index(old, "old")
    if is_table(old):
        if not Path(old).expanduser().exists():
            raise InputError(f"old={old!r}: there is no such table of vectors")
    else:
        check_pretrained(old, "old")


class Old(nn.Module):
    """An old encoder, frozen, or a table of its vectors; where it is an encoder, it fills a table in a refresh.

    The table is not saved with the method: it can be made again.
    """

    vectors: Tensor

    def __init__(self, old: str, facts: Facts) -> None:
        """Raises InputError where there is no such encoder or table."""
        super().__init__()
        old = of_index(old, "old")
        self.register_buffer("vectors", torch.zeros(0, 0), persistent=False)  # as long as the data, and made again
        self.given: Table | None = None
        if is_table(old):
            self.given = read_table(Path(old).expanduser())
            if self.given.names is None:
                raise InputError(f"old={old!r} holds vectors without names: a column called 'id' says whose each is")
            self.dim = self.given.rows.shape[1]
        else:
            self.network = pretrained(old, image_size=facts.image_size, mean=facts.mean, std=facts.std, setting="old")
            self.dim = self.network.features
        self.known: Tensor | None = None
        """(N,) whether an image has an old vector; None where all have one."""

    def full(self) -> bool:
        """Whether there is a vector for every image that can have one."""
        return len(self.vectors) > 0

    def look_with(self) -> nn.Module | None:
        """The encoder that a refresh embeds all images by; None where the vectors are given."""
        return None if self.given is not None else self.network

    def fill(self, features_ND: Tensor, names: Sequence[str]) -> None:
        """Keep what the encoder made of all images, or look their names up in the table that was given.

        Raises InputError where the table holds none of them.
        """
        if self.given is None:
            self.vectors = features_ND
            return
        row_N = self.given.at(names)
        if not (row_N >= 0).any():
            raise InputError(f"the table of old vectors holds none of the {len(names)} images, such as {names[0]!r}")
        vectors_ND = torch.from_numpy(self.given.rows[np.maximum(row_N, 0)].astype(np.float32)).to(features_ND.device)
        known_N = torch.from_numpy(row_N >= 0).to(features_ND.device)
        self.known = None if bool(known_N.all()) else known_N
        self.vectors = vectors_ND * known_N.unsqueeze(1)

    def has(self, index_B: Tensor) -> Tensor:
        """(B,) whether these images have an old vector."""
        return torch.ones_like(index_B, dtype=torch.bool) if self.known is None else self.known[index_B]

    def forward(self, index_B: Tensor) -> Tensor:
        """(B, D) old vectors of these images, seen by their centre."""
        return self.vectors[index_B]

    def means(self, labels_N: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """(C, D) mean old vector of each class, and (C,) which classes have one; zeros for the others."""
        there_N = (labels_N >= 0) & self.has(torch.arange(len(labels_N), device=labels_N.device))
        present = torch.unique(labels_N[there_N])
        rows_CD = self.vectors.new_zeros(classes, self.dim)
        rows_CD[present] = class_means(self.vectors[there_N], labels_N[there_N], present)
        return rows_CD, torch.isin(torch.arange(classes, device=labels_N.device), present)


def classifier_of(old: str) -> OldClassifier | None:
    """The classifier that lies beside an old encoder: of `likewise finetune`, `bct` or `nccl`; None where none does.

    Raises InputError where it is damaged.
    """
    old = of_index(old, "old")
    path = Path(old).expanduser()
    if not old or is_table(old) or not path.exists():
        return None
    weights = choose(path, None).path
    if (found := layer_of(weights)) is not None:
        layer, class_names = found
        return OldClassifier(layer.weight.detach(), layer.bias.detach(), "linear", tuple(class_names))
    whole = weights.with_name(_METHOD)
    if not whole.is_file():
        return None
    try:
        with safe_open(whole, framework="pt") as file:
            held = {key: file.get_tensor(key) for key in file.keys() if key.startswith("classifier.")}  # noqa: SIM118
        names = RunDirectory.open(whole.parent).read().get("data", {}).get("class_names")
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{whole} is damaged: {error}") from error
    for key, form in _CLASSIFIERS.items():
        if key in held:
            return OldClassifier(held[key], held.get("classifier.bias"), form, tuple(names) if names else None)
    return None


def placed(found: OldClassifier, facts: Facts) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (C, D), biases (C,) and which of the C new classes the old classifier knows: by name, else by number."""
    weight_CD, bias_C = found.weight_CD, found.bias_C
    if found.class_names and facts.class_names:
        number = {name: row for row, name in enumerate(found.class_names[: len(weight_CD)])}
        row_C = torch.tensor([number.get(name, -1) for name in facts.class_names[: facts.classes]])
    else:
        row_C = torch.arange(facts.classes).where(torch.arange(facts.classes) < len(weight_CD), -1)
    known_C = row_C >= 0
    kept = row_C.clamp_min(0)
    bias = weight_CD.new_zeros(len(weight_CD)) if bias_C is None else bias_C
    return weight_CD[kept] * known_C.unsqueeze(1), bias[kept] * known_C, known_C
