"""Every method against numbers computed by the official code, in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adapters import Adapter, Vectors, all_adapters

import likewise.methods
from likewise.methods.ledger import status


def test_check(check: Callable[[Vectors], None], vectors: Vectors) -> None:
    check(vectors)


def test_every_key_is_checked(method: str, adapter: Adapter, vectors: Vectors) -> None:
    for check in adapter.checks:
        check(vectors)
    unread = {key for key in vectors.arrays if key not in vectors.read and key not in adapter.elsewhere}
    assert not unread, f"no check of {method} reads {sorted(unread)}"


def test_every_verified_method_has_an_adapter() -> None:
    names = likewise.methods.names()
    verified = {name for name in names if status(likewise.methods.find(name)) == "verified"}
    adapters = all_adapters()
    assert verified <= set(adapters) | {name for adapter in adapters.values() for name in adapter.covers}


def test_the_folder_has_vectors(folder: Path) -> None:
    assert any((folder / f"{name}.npz").exists() for name in all_adapters()), f"no known vectors in {folder}"
