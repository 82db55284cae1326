"""A small encoder, images of three colours, and a cache of each test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.encoders import Encoder, build
from tests.evaluation.conftest import SPEC, drawn


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder() -> Encoder:
    return build(SPEC, seed=0)


@pytest.fixture
def other() -> Encoder:
    return build(SPEC, seed=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (train, train_labels), (test, test_labels) = drawn(60, 1), drawn(48, 2)
    path = tmp_path / "colours.npz"
    np.savez(path, train_images=train, train_labels=train_labels, test_images=test, test_labels=test_labels)
    return path
