"""Options of the test suite."""

from __future__ import annotations

from pathlib import Path

import pytest

OWN_VECTORS = Path(__file__).parent / "golden" / "vectors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", default=str(OWN_VECTORS), help="folder of ID.npz files with official numbers")
