"""Options of the test suite, and the number format that it trains in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import likewise.encoders  # noqa: F401  # before a test imports timm: it makes torchvision work beside a CPU torch
from tests.trains import trains

OWN_VECTORS = Path(__file__).parent / "golden" / "vectors"

# Every test trains in float32 that does not ask for another precision, on every processor, in processes that it starts
# too. `make test-bf16` sets 1.
os.environ.setdefault("LIKEWISE_BF16", "0")

# A shell that starts the suite in the background lets it ignore Ctrl-C, and so would the commands that tests end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", default=str(OWN_VECTORS), help="folder of ID.npz files with official numbers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and trains(item):
            item.add_marker("trains")
