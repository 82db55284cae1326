"""The peers, where they are installed; a benchmark leaves out one that is not, and says so."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import likewise.encoders  # noqa: F401  # lets torchvision be imported beside a CPU build of PyTorch

INSTALL = "pip install -c constraints.txt 'likewise[bench]'"


def peer(name: str, notes: list[str]) -> ModuleType | None:
    """The module called `name`, or None with a line in `notes`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        line = f"{name.partition('.')[0]} is left out: {error} ({INSTALL})"
        if line not in notes:
            notes.append(line)
        return None
