"""A method that puts images together between crop and colours gets to do so in a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from likewise.methods.byol import BYOL
from likewise.methods.method import Batch, Method, Terms, Views, composer
from likewise.verbs.learning.train import train


def test_crops_pass_through_the_method_before_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    drawn: list[float] = []
    asked: list[list[int]] = []
    seen: list[list[int]] = []
    plain = BYOL.step

    def compose(self: Method, crops: Views, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        assert set(crops) == {"first", "second"}
        drawn.append(float(torch.rand((), generator=generator)))
        asked.append(batch[0].tolist())
        return {"second": torch.full_like(crops["second"].image, drawn[-1])}

    def step(self: BYOL, views: Views, batch: Batch) -> Terms:
        seen.append(batch[0].tolist())
        assert float(views["second"].image.flatten(2).std(dim=2).max()) < 1e-4
        assert float(views["first"].image.flatten(2).std(dim=2).max()) > 0.01
        return plain(self, views, batch)

    monkeypatch.setattr(BYOL, "composes", True)
    monkeypatch.setattr(BYOL, "compose", compose)
    monkeypatch.setattr(BYOL, "step", step)
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    train(
        images, method="byol", encoder="resnet18", width=8, batch_size=8, epochs=1, out=str(tmp_path / "run"),
        quiet=True, report=False, loggers=(), precision="float32", device="cpu",
    )  # fmt: skip
    assert seen == asked
    assert len(set(drawn)) == len(drawn) == 3, "another draw in every step"


def test_a_method_that_composes_nothing_has_no_hook() -> None:
    batch = Batch(torch.arange(2))
    assert composer(Method(), batch) is None
    one = Method()
    one.composes = True  # type: ignore[misc]
    hook = composer(one, batch)
    assert hook is not None
    with pytest.raises(NotImplementedError, match="Method composes nothing"):
        hook({}, torch.Generator())
