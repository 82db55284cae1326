"""An index in PostgreSQL or Qdrant is given another encoder's vectors while it is in use, as one in a folder is."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likewise.encoders import load_encoder
from likewise.errors import InputError
from likewise.index import Index, Space, create, open_index
from likewise.index.checkup import check_index
from likewise.index.stores.qdrant import QdrantStore
from likewise.upgrading import journal as journals
from likewise.upgrading import planning
from likewise.upgrading.sheet import plan_sheet
from likewise.verbs.using import upgrade as verb
from likewise.verbs.using.upgrade import upgrade
from tests.index.test_servers import address, database  # noqa: F401
from tests.upgrading.test_upgrade import check_whole, made, to  # noqa: F401

COUNT = 40


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "plan_sheet", functools.partial(plan_sheet, forms=("ridge",)))
    monkeypatch.setitem(verb.refresh.__kwdefaults__, "batch", 8)


@pytest.fixture
def index(address: str, made: Path) -> Index:  # noqa: F811
    """What the index in the folder holds, on a server."""
    held = open_index(made / "photos.index")
    encoder = load_encoder(Path(to(made, "old")))
    there = create(address, Space.of_encoder(encoder), encoder=encoder)
    there.append(held.ids, held.vectors(), paths=held.paths, columns={"label": held.columns["label"]})
    return there


def seen_by_another(index: Index) -> Index:
    """The same opened once more. The local mode of Qdrant gives its folder to one client only."""
    store = index.store
    return Index(QdrantStore(store.address, store.client)) if isinstance(store, QdrantStore) else open_index(index.path)


def test_it_pauses_goes_on_and_goes_back(index: Index, made: Path) -> None:  # noqa: F811
    ids, vectors = index.ids, index.vectors()
    first = upgrade(index, to=to(made, "near"), gate=-1.0, budget="25%")
    assert first.done is not None
    assert (first.done.refreshed, first.done.paused) == (10, True)
    between = seen_by_another(index)
    assert sorted(between.versions.tolist()) == [0] * 30 + [1] * 10
    for row in (0, 7, 39):  # of both versions, by the encoders that the index keeps
        assert between.search(between.paths[row], k=1).hits[0][0].id == ids[row]
    with pytest.raises(InputError, match="is under way"):
        upgrade(index, to=to(made, "free"))
    second = upgrade(between, to=to(made, "near"))
    assert second.done is not None
    assert (second.done.refreshed, second.done.new, second.done.paused) == (30, COUNT, False)
    check_whole(seen_by_another(index), made, "near", ids)
    assert upgrade(seen_by_another(index), rollback=True).rolled_back == COUNT
    after = seen_by_another(index)
    assert after.ids == ids
    assert after.held_spaces() == [0]
    np.testing.assert_allclose(after.vectors(), vectors, atol=1e-6)
    upgrade(after, to=to(made, "longer"), gate=-1.0)
    check_whole(seen_by_another(index), made, "longer", ids)
    if "postgres" in index.path:
        assert check_index(index.path).wrong == ()


def test_queries_are_answered_at_every_moment(index: Index, made: Path) -> None:  # noqa: F811
    if isinstance(index.store, QdrantStore):
        pytest.skip("the local mode of Qdrant is not made for a reader beside a writer")
    reader, stop, answers, faults = seen_by_another(index), threading.Event(), [0], []
    ids, path = reader.ids, reader.paths[7]

    def ask() -> None:
        while not stop.is_set():
            try:
                found = [hit.id for hit in reader.search(path, k=COUNT).hits[0]]
                if sorted(found) != sorted(ids):
                    faults.append(f"{len(found)} rows, {len(set(found))} different")
            except Exception as error:  # noqa: BLE001  # whatever a query fails with is what this test is about
                faults.append(repr(error))
            answers[0] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        upgrade(index, to=to(made, "near"), gate=-1.0)
    finally:
        stop.set()
        asking.join()
    assert faults == []
    assert answers[0] > 2


@pytest.mark.parametrize("step", ["replace", "put"])
def test_an_end_at_any_moment_leaves_every_id_once(
    index: Index,
    made: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Of a batch, and of the way back, that never came to their end."""
    ids, calls = index.ids, [0]
    store: Any = index.store
    place, whole = (store, store.replace) if step == "replace" else (store.kept, store.kept.put)

    def ended(*given: Any) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(place, step, ended)
        with pytest.raises(KeyboardInterrupt):
            upgrade(index, to=to(made, "near"), gate=-1.0)
    assert index.ids == ids
    assert (journals.read(index) is None) == (step == "put")
    upgrade(index, to=to(made, "near"), gate=-1.0)
    check_whole(seen_by_another(index), made, "near", ids)


def test_rows_that_a_crash_left_in_two_collections_are_settled(index: Index, made: Path) -> None:  # noqa: F811
    if not isinstance(index.store, QdrantStore):
        pytest.skip("a transaction leaves nothing behind")
    ids, store = index.ids, index.store
    client, delete = store.client, store.client.delete
    store.client.delete = lambda *_, **__: None
    upgrade(index, to=to(made, "near"), gate=-1.0, budget="25%")
    store.client.delete = delete
    assert len(index) == COUNT + 8 + 2, "the two batches are in both"
    assert index.ids == ids
    assert len(index.search(index.paths[0], k=COUNT).hits[0]) == COUNT
    upgrade(index, to=to(made, "near"))
    assert client is store.client
    assert len(index) == COUNT
    check_whole(index, made, "near", ids)
