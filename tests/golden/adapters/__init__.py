"""Adapters from the keys of the official vectors to the library's functions.

`adapters/ID.py` defines functions `check_*(v: Vectors)`, each comparing some results. Every key of the file must be
read by one of them, or stand in the adapter's `ELSEWHERE` with the reason; that is checked too. Methods beside ID whose
numbers are in the same file are named in `COVERS`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Vectors:
    """The arrays of one file, as tensors, remembering which were read."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: np.asarray(file[key]) for key in file.files}
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return torch.from_numpy(self.arrays[key].copy())

    def number(self, key: str) -> Any:
        """A scalar as a Python number."""
        return self[key].item()

    def leaf(self, key: str) -> Tensor:
        """A tensor that gradients can be taken of."""
        return self[key].requires_grad_(True)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """All arrays under `prefix.`, by the rest of their key: a state dictionary."""
        return {k.removeprefix(prefix + "."): self[k] for k in self.arrays if k.startswith(prefix + ".")}


def same(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Assert equality within a relative tolerance of the largest entry."""
    assert found.shape == expected.shape, f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    error = (found.double() - expected.double()).abs().max().item() / scale if expected.numel() else 0.0
    assert error <= tolerance, f"off by {error:.3g} relative to {scale:.3g}, allowed {tolerance:.1g}"


class Adapter(NamedTuple):
    """What one module of this package offers."""

    checks: list[Callable[[Vectors], None]]
    elsewhere: dict[str, str]
    covers: tuple[str, ...]


def all_adapters() -> dict[str, Adapter]:
    """Adapters by method."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        checks = [value for name, value in vars(module).items() if name.startswith("check_")]
        found[info.name] = Adapter(checks, getattr(module, "ELSEWHERE", {}), getattr(module, "COVERS", ()))
    return found
