"""The images to select from, as features alone: no label reaches a selection.

Shapes: N images, D features, m picks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.selection.usl import Apart, density
from likewise.similarity import unit
from likewise.similarity.nearest import check_features

Variant = Literal["small", "cifar10", "cifar100", "imagenet", "imagenet_clip"]
_DENSEST = 1e12
"""In place of an infinite density, which images have that lie on their copies."""


@dataclass(frozen=True, kw_only=True)
class UslSettings:
    """Settings of USL: neighbours, clusters, and the separation of picks."""

    neighbours: int | None = None
    """k of the density, the image itself among them; None: 0.8 % of the images, as for CIFAR-10, from 20 to 400."""
    iterations: int = 50
    """Of k-means."""
    apart: Apart = field(default_factory=Apart)
    """The regularised selection."""

    def k(self, count: int) -> int:
        """Neighbours among `count` images."""
        wanted = min(400, max(20, round(count / 125))) if self.neighbours is None else self.neighbours
        return max(2, min(wanted, count))


_LARGE = Apart(rounds=2, weight=1.5, momentum=0.0, nearest=128)
RECIPES: dict[str, UslSettings] = {
    "small": UslSettings(),
    "cifar10": UslSettings(neighbours=400, iterations=200),
    "cifar100": UslSettings(neighbours=400, iterations=200, apart=Apart(weight=1.0, horizon=1.0, alpha=1.0)),
    "imagenet": UslSettings(neighbours=20, iterations=100, apart=_LARGE),
    "imagenet_clip": UslSettings(
        neighbours=20,
        iterations=100,
        apart=Apart(rounds=2, weight=0.05, momentum=0.0, nearest=32, alpha=1.0),
    ),
}
"""The published settings (arXiv 2110.03006, appendix and code); `small` is CIFAR-10's for a few thousand images."""


def recipe(name: str) -> UslSettings:
    """The settings of a variant. Raises InputError for a name that does not exist."""
    if name not in RECIPES:
        raise unknown("variant of USL", name, RECIPES)
    return RECIPES[name]


@dataclass(frozen=True)
class Pool:
    """All images, with those that are labelled already."""

    features_ND: Tensor
    """Features of any length; they are normalised here."""
    covered_N: Tensor
    """(N,) bool: labelled in an earlier round, or a copy of such an image; not to be picked."""
    content_N: NDArray[np.int64]
    """(N,) equal for exact copies."""
    recipe: UslSettings = field(default_factory=UslSettings)
    """Settings of USL, whose density all strategies report."""

    @classmethod
    def of(cls, features_ND: Tensor, **how: UslSettings) -> Pool:
        """Images of which none is labelled and none a copy."""
        count = len(features_ND)
        return cls(features_ND, torch.zeros(count, dtype=torch.bool), np.arange(count), **how)

    def __post_init__(self) -> None:
        check_features("pool", self.features_ND)

    def __len__(self) -> int:
        return len(self.features_ND)

    @cached_property
    def x_ND(self) -> Tensor:  # noqa: N802  # its shape
        """Unit features."""
        return unit(self.features_ND)

    @cached_property
    def density_N(self) -> Tensor:  # noqa: N802  # its shape
        """(N,) 1 / mean squared distance to the k nearest, finite."""
        if len(self) < 2:
            return torch.ones(len(self))
        return density(self.x_ND, self.recipe.k(len(self))).clamp_max(_DENSEST)

    @property
    def taken(self) -> Tensor:
        """(G,) rows that are covered."""
        return self.covered_N.nonzero().flatten()

    @cached_property
    def covered_contents(self) -> int:
        """Number of different images that are covered."""
        return len(np.unique(self.content_N[self.covered_N.numpy()]))

    @cached_property
    def free(self) -> Tensor:
        """(F,) rows that may be picked: of exact copies the first, then the copies."""
        open_rows = (~self.covered_N).nonzero().flatten().numpy()
        _, first = np.unique(self.content_N[open_rows], return_index=True)
        once = np.zeros(len(open_rows), bool)
        once[first] = True
        return torch.from_numpy(np.concatenate([open_rows[once], open_rows[~once]]))

    @property
    def different(self) -> int:
        """How many of the `free` rows come before the first copy."""
        return len(np.unique(self.content_N[self.free.numpy()]))

    def check(self, count: int) -> None:
        """Raise InputError unless so many can be picked."""
        if not 1 <= count <= len(self.free):
            left = f" that are not labelled yet of {len(self):,}" if bool(self.covered_N.any()) else ""
            raise InputError(
                f"labels={count}: allowed are 1 to {len(self.free):,}, the number of images{left}; "
                f"{min(max(count, 1), len(self.free))} is the nearest"
                if len(self.free)
                else f"labels={count}: every one of the {len(self):,} images is labelled already"
            )
