"""Chains of training runs: recipes of papers that train more than once. Each module is one recipe.

A recipe is a frozen dataclass `Recipe` with the data, the directory `out` and what may be set, and a generator
`stages(recipe)` of `Stage`s. Every stage is an ordinary run in `out`; `carry_out` does those that are not done yet.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from likewise.errors import unknown
from likewise.recipes.chain import Stage, carry_out

__all__ = ["Stage", "carry_out", "find", "names"]

_NONE_OF_THEM = {"chain"}


def names() -> list[str]:
    """All recipes, in alphabetical order."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name not in _NONE_OF_THEM)


def find(name: str) -> ModuleType:
    """The module of a recipe. Raises InputError for one that does not exist."""
    if name not in names():
        raise unknown("recipe", name, names())
    return importlib.import_module(f"{__name__}.{name}")
