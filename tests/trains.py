"""Which tests train: those from whose code a call of `train` can be reached, through helpers and fixtures too.

Found from the code, so that a new test is among them by itself: `-m trains` chooses them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

OURS = ("tests.", "test_", "conftest")
"""How the modules begin whose functions are followed; importlib mode names some by their path, others by their file."""


def trains(item: pytest.Function) -> bool:
    """Whether the test, or a fixture that it uses, leads to `likewise.train` or to `likewise train`."""
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return leads_to_train(item.function, *(each.func for of_name in definitions for each in of_name))


@functools.cache  # the cases of a parametrised test are one function
def leads_to_train(*functions: Callable[..., Any]) -> bool:
    """Whether one of the functions, or one of this test suite's that they name, calls what trains."""
    todo, seen, verbs, names = list(functions), set(), set(), set()
    while todo:
        function = todo.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        for value in mentioned(function):
            if isinstance(value, str):
                verbs.add(value)
            elif isinstance(value, type) and value.__module__.startswith(OURS):
                todo.extend(vars(value).values())
            elif isinstance(value, FunctionType) and value.__module__.startswith(OURS):
                todo.append(value)
            elif isinstance(value, FunctionType):
                names.add(f"{value.__module__}.{value.__qualname__}")
    return "likewise.verbs.learning.train.train" in names or ("likewise.cli.main" in names and "train" in verbs)


def mentioned(function: FunctionType) -> Iterator[Any]:
    """The strings in a function's code, and what its names stand for: globals, and what modules of ours define."""
    for code in codes(function.__code__):
        yield from strings(code.co_consts)
        imported = [sys.modules.get(name) for name in code.co_names]
        named = [function.__globals__.get(name) for name in code.co_names]
        yield from named
        for module in [*named, *imported]:
            if isinstance(module, ModuleType) and module.__name__.startswith(("likewise", *OURS)):
                yield from (getattr(module, name, None) for name in code.co_names)


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of those inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def strings(constants: Any) -> Iterator[str]:
    """Strings among constants, also inside tuples."""
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from strings(constant)
