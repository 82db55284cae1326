"""Folders of images of a few colours, and a small encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.colours import colour_folder, small_encoder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return small_encoder(tmp_path / "encoder.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return colour_folder(tmp_path / "photos", 12)
