"""A folder of images of a few colours, a small encoder, and a cache of their own, for the tests of several verbs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.colours import colour_folder, small_encoder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of one test is found by another."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """The small encoder."""
    return small_encoder(tmp_path / "encoder.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images of every colour."""
    return colour_folder(tmp_path / "photos", 12)
