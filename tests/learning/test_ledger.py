"""The ledger: when an entry is fresh, what a method's own code is, and what follows for its status."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from likewise import methods
from likewise.methods import ledger
from likewise.methods.isd import ISD
from likewise.methods.ledger import Entry, contents, digest, digest_of, entries, status, write
from likewise.methods.method import Method
from tests.learning.learn import official

SOURCES = {
    "likewise.methods.one": '''
"""A method."""
from likewise.methods.method import Method
from likewise.methods.parts import queue
from likewise.similarity import pull as drawn
from likewise.memory import Queue

RATE = 0.1

class One(Method):
    """Words."""
    card = Card(summary="words")
    def step(self):
        return drawn(queue(self), RATE)
''',
    "likewise.methods.parts": "SIZE = 4\ndef queue(x):\n    return Queue(SIZE)\ndef of_another(x):\n    return x\n",
    "likewise.methods.method": "class Method:\n    pass\n",
    "likewise.similarity": "from likewise.similarity.losses import pull, push\n",
    "likewise.similarity.losses": (
        "from likewise.similarity.read import unit\n"
        "def pull(x, y):\n    return unit(x) * y\n"
        "def push(x):\n    return x\n"
    ),
    "likewise.similarity.read": "def unit(x: int) -> int:\n    return x\n",
    "likewise.memory": "class Queue:\n    pass\n",
}


def digest_with(**changes: tuple[str, str, str]) -> str:
    """The digest of the method above, where (module, old, new) changes a text."""
    sources = dict(SOURCES)
    for module, old, new in changes.values():
        assert old in sources[module]
        sources[module] = sources[module].replace(old, new)
    return digest_of("likewise.methods.one", lambda name: contents(sources[name]) if name in sources else None)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("likewise.methods.one", "RATE = 0.1", "RATE = 0.2"),
        ("likewise.methods.one", "queue(self)", "queue(self.x)"),
        ("likewise.methods.parts", "SIZE = 4", "SIZE = 8"),
        ("likewise.similarity.losses", "* y", "+ y"),
        ("likewise.similarity.read", "return x", "return -x"),
    ],
)
def test_the_digest_changes_with_what_the_method_computes(module: str, old: str, new: str) -> None:
    assert digest_with(change=(module, old, new)) != digest_with()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("likewise.methods.one", '"""Words."""', '"""Other words."""'),
        ("likewise.methods.one", 'summary="words"', 'summary="other words"'),
        ("likewise.methods.one", "RATE = 0.1", "RATE = 0.10  # per step"),
        ("likewise.methods.parts", "def of_another(x):", "def of_another(x, y):"),
        ("likewise.methods.method", "pass", "x = 1"),
        ("likewise.similarity.losses", "def push(x):", "def push(x, y):"),
        ("likewise.memory", "pass", "x = 1"),
    ],
)
def test_the_digest_stays_with_words_and_with_what_the_method_does_not_use(module: str, old: str, new: str) -> None:
    assert digest_with(change=(module, old, new)) == digest_with()


def test_each_method_has_a_digest_of_its_own() -> None:
    digests = {digest(methods.find(name)) for name in methods.names()}
    assert len(digests) == len(methods.names())


@pytest.fixture
def entry() -> Entry:
    return Entry(method="isd", digest=digest(ISD), data="images", score=0.4, untrained=0.2, seeds=1, numbers="isd.npz")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "verified"),
        ({"digest": "0" * 16}, "experimental"),
        ({"score": 0.21}, "experimental"),
        ({"numbers": None}, "experimental"),
        ({"method": "msf"}, "experimental"),
    ],
)
def test_the_status_follows_from_the_ledger(
    changes: dict[str, object], expected: str, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = dataclasses.replace(entry, **changes)
    monkeypatch.setattr(ledger, "entries", lambda: {changed.method: changed})
    assert status(ISD) == expected


def test_methods_of_other_packages_are_experimental() -> None:
    class Other(Method):
        pass

    Other.__module__ = "elsewhere.isd"
    assert status(Other) == "experimental"


def test_the_ledger_comes_back_as_it_was_written(entry: Entry, tmp_path: Path) -> None:
    other = dataclasses.replace(entry, method="byol", numbers=None)
    write([entry, other], tmp_path / "ledger.json")
    found = entries(tmp_path / "ledger.json")
    assert found == {"byol": other, "isd": entry}
    assert list(found) == ["byol", "isd"]


def test_entries_are_of_methods_that_there_are_and_name_the_numbers_that_there_are() -> None:
    assert set(entries()) <= set(methods.names())
    assert {name: entry.numbers for name, entry in entries().items()} == {name: official(name) for name in entries()}
