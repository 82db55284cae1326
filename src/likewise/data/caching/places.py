"""Directories of decoded images and downloads."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LIKEWISE_CACHE"
"""Environment variable that names another place."""


def cache_root(chosen: Path | None = None) -> Path:
    """The folder of the cache: as chosen, else as LIKEWISE_CACHE says, else ~/.cache/likewise."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(chosen or named or Path.home() / ".cache" / "likewise").expanduser()
