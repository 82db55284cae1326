"""Options of the test suite."""

from __future__ import annotations

from pathlib import Path

import pytest

import likewise.encoders  # noqa: F401  # before a test imports timm: it makes torchvision work beside a CPU torch

OWN_VECTORS = Path(__file__).parent / "golden" / "vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", default=str(OWN_VECTORS), help="folder of ID.npz files with official numbers")
