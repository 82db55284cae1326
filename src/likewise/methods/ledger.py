"""The ledger of methods that learn: the result of each on real images, and a digest of the code that reached it.

`make learn` trains and writes ledger.json beside this file. An entry is fresh while its digest is that of the method's
own code: what the method's module defines, and what that uses of `likewise.methods` and `likewise.similarity`, followed
from name to name. Comments, docstrings, layout and the card do not count. Nor does what all methods stand on (the
interface, encoders, memory, views, the loop): a change there is found by training some of the methods at each commit.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from likewise.files import write_aside
from likewise.methods import name_of
from likewise.methods.method import Method

FILE = Path(__file__).with_name("ledger.json")
LIFT = 0.02
"""Least gain over the untrained encoder that counts as learning. On 2,000 images one standard error is 0.011."""
FOLLOWED = ("likewise.methods.", "likewise.similarity")
SHARED = ("likewise.methods.method", "likewise.methods.parts.checks")
"""The interface and the refusals of settings, which every method imports."""

ACCURACY = "20-NN accuracy"

Status = Literal["verified", "experimental"]
"""`verified`: equal to official numbers, and shown to learn on real images by the code as it is now."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The result of a method when it was last trained for the ledger."""

    method: str
    digest: str
    """Of the method's own code at the time."""
    data: str
    """Images that it was trained and scored on."""
    score: float
    """Of the trained encoder, 0 to 1, mean over the seeds."""
    untrained: float
    """The same of the encoder before training."""
    seeds: int
    """Runs that were needed."""
    numbers: str | None
    """File of official numbers that the tests hold the method to; None where there is none."""
    measure: str = ACCURACY
    """What the scores are."""

    @property
    def learned(self) -> bool:
        """Whether training helped significantly."""
        return self.score - self.untrained > LIFT


def status(method: type[Method]) -> Status:
    """The status of a method: without a fresh entry that shows it to learn, it is experimental."""
    entry = entries().get(name_of(method)) if method.__module__.startswith("likewise.methods.") else None
    if entry is None or not entry.learned or entry.numbers is None or entry.digest != digest(method):
        return "experimental"
    return "verified"


def entries(path: Path = FILE) -> dict[str, Entry]:
    """The ledger, by method."""
    return {each["method"]: Entry(**each) for each in json.loads(path.read_text(encoding="utf-8"))}


def write(ledger: Iterable[Entry], path: Path = FILE) -> None:
    """Replace the ledger, all or nothing, in the order of the names."""
    listed = [asdict(entry) for entry in sorted(ledger, key=lambda entry: entry.method)]
    with write_aside(path) as file:
        file.write((json.dumps(listed, indent=2) + "\n").encode())


def digest(method: type[Method]) -> str:
    """16 hexadecimal digits that change when the method's own code does."""
    return digest_of(method.__module__, parsed)


class Module(NamedTuple):
    """The top level of a module."""

    definitions: dict[str, ast.stmt]
    """Functions, classes and constants by name."""
    imports: dict[str, tuple[str, str]]
    """Name here -> (module, name there)."""


def digest_of(name: str, read: Callable[[str], Module | None]) -> str:
    """The digest of the module called `name`, where `read` gives modules, and None for what is no module."""
    todo = [(name, defined) for defined in _module(name, read).definitions]
    code: dict[tuple[str, str], str] = {}
    while todo:
        place = todo.pop()
        module, defined = place
        if place in code or not module.startswith(FOLLOWED) or module in SHARED:
            continue
        if (whole := read(f"{module}.{defined}")) is not None:  # `from likewise.similarity import kmeans`
            todo.extend((f"{module}.{defined}", inner) for inner in whole.definitions)
            continue
        holds = _module(module, read)
        if defined in holds.imports:
            todo.append(holds.imports[defined])
        elif defined in holds.definitions:
            node = holds.definitions[defined]
            code[place] = _plain(node)
            named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            todo.extend((module, each) for each in named)
    text = "\n".join(f"{module} {defined} {code[module, defined]}" for module, defined in sorted(code))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def parsed(name: str) -> Module | None:
    """The module of this package called `name`, from its source; None where there is no such file."""
    place = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return contents(path.read_text(encoding="utf-8")) if path.exists() else None


def contents(source: str) -> Module:
    """Parse the top level of a source text."""
    found = Module({}, {})
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.imports.update({each.asname or each.name: (node.module, each.name) for each in node.names})
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            found.definitions.update(dict.fromkeys(names, node))
    return found


def _module(name: str, read: Callable[[str], Module | None]) -> Module:
    return read(name) or Module({}, {})


def _plain(value: Any) -> str:
    """A syntax tree as text that is the same for every version of Python, without docstrings and cards."""
    if isinstance(value, list):
        return f"[{', '.join(_plain(item) for item in value if not _is_words(item))}]"
    if isinstance(value, ast.AST):
        kept = ((name, child) for name, child in ast.iter_fields(value) if child not in (None, []))
        fields = (f"{name}={_plain(child)}" for name, child in kept if name not in ("ctx", "kind"))
        return f"{type(value).__name__}({', '.join(fields)})"
    return repr(value)


def _is_words(node: Any) -> bool:
    """Whether a statement only tells people something."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)] == ["card"]
