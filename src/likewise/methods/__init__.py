"""The methods: one file per paper, found by the file's name; other packages add theirs through an entry point.

[project.entry-points."likewise.methods"]
my_method = "my_package.my_module:MyMethod"
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.errors import InputError, unknown

if TYPE_CHECKING:
    from likewise.methods.method import Method

ENTRY_POINTS = "likewise.methods"


def find(name: str) -> type[Method]:
    """The method called `name`. Raises InputError with the nearest spelling where there is none."""
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return _checked(name, point.load())
    if name in _modules():
        found = _defined_in(name)
        if found is not None:
            return found
    raise unknown("method", name, names())


def names() -> list[str]:
    """Names of all methods, sorted: those of this package and those of entry points."""
    return sorted({*own_names(), *(point.name for point in entry_points(group=ENTRY_POINTS))})


def own_names() -> list[str]:
    """Names of the methods of this package, by their source: importing all of them takes seconds."""
    sources = {name: Path(__path__[0]) / f"{name}.py" for name in _modules()}
    return [
        name for name, file in sources.items() if file.is_file() and _PRESETS.search(file.read_text(encoding="utf-8"))
    ]


def name_of(method: type[Method]) -> str:
    """The name that `find` takes for a method."""
    for point in entry_points(group=ENTRY_POINTS):
        if point.value == f"{method.__module__}:{method.__qualname__}":
            return point.name
    return method.__module__.rsplit(".", 1)[-1]


_PRESETS = re.compile(r"^    presets: ClassVar[^=\n]* = ", re.MULTILINE)
"""What stands in the source of every method, and of nothing else in this package."""


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _defined_in(name: str) -> type[Method] | None:
    """The method that module `name` defines; support modules of the package define none."""
    from likewise.methods.method import Method

    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module.__name__:
            return None if value is Method else value
    return None


def _checked(name: str, found: object) -> type[Method]:
    """`found` if it keeps to the contract of a method."""
    from likewise.methods.method import Method

    if not (inspect.isclass(found) and issubclass(found, Method)):
        raise InputError(f"entry point {name!r} gives {found!r}: it must name a subclass of likewise.methods.Method")
    missing = [attribute for attribute in ("card", "Settings", "presets") if not hasattr(found, attribute)]
    if missing:
        raise InputError(f"method {name!r} lacks {', '.join(missing)}: see docs/adding-a-method.md")
    return found


__all__ = ["find", "name_of", "names", "own_names"]
