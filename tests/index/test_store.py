"""An index folder: what is written is found, nothing else is, and nothing half."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from likewise.encoders import Encoder
from likewise.errors import DiskFull, InputError
from likewise.index import Index, Space, create, open_index
from likewise.index.answers import answers
from likewise.index.checkup import check_index
from likewise.index.recall import _interval, promise
from likewise.index.stores import local
from likewise.index.stores.graph import Beside, Graph, graph_nearest
from likewise.index.stores.manifest import Manifest
from likewise.index.stores.scan import top
from tests.index.conftest import COUNT, D
from tests.processes import PATIENCE, forks


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_search_is_that_of_all_products(index: Index, vectors: np.ndarray) -> None:
    queries = np.random.default_rng(1).normal(size=(5, D)).astype(np.float32)
    expected = np.argsort(-unit(queries) @ unit(vectors).T, axis=1)[:, :7]
    found = index.search(queries, k=7)
    assert [[hit.id for hit in hits] for hits in found.hits] == [[f"r{row}" for row in rows] for rows in expected]
    assert found.exact
    assert index.ids == [f"r{row}" for row in range(COUNT)]
    np.testing.assert_allclose(index.vectors() * index.norms[:, None], vectors, rtol=1e-5)


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("kind = 'cat'", lambda kind, year: kind == "cat"),
        ("not kind = 'cat'", lambda kind, year: kind == "dog"),
        ("kind is null and year < 2030", lambda kind, year: kind is None and year < 2030),
        (
            "kind in ('cat', 'dog') and (year >= 2050 or year = 2001)",
            lambda k, y: k is not None and (y >= 2050 or y == 2001),
        ),
        ("kind like 'd%' or year != 2000", lambda kind, year: kind == "dog" or year != 2000),
        ("year > 2055.5", lambda kind, year: year > 2055.5),
    ],
)
def test_conditions_choose_the_rows_they_say(index: Index, vectors: np.ndarray, where: str, wanted: object) -> None:
    kinds = ["cat", "dog", None] * (COUNT // 3)
    expected = {f"r{row}" for row in range(COUNT) if wanted(kinds[row], 2000 + row)}  # type: ignore[operator]
    found = index.search(vectors[0], k=COUNT, where=where)
    assert {hit.id for hit in found.hits[0]} == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("kidn = 'cat'", "did you mean 'kind'"),
        ("kind = ", "a number or a text"),
        ("kind = 3", "another kind"),
        ("year = 2000; drop", "not understood"),
        ("(" * 60 + "year = 1", "deep"),
        ("", "a column"),
    ],
)
def test_conditions_that_are_none_are_refused_in_a_line(
    index: Index, vectors: np.ndarray, where: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        index.search(vectors[0], where=where)
    assert "\n" not in str(error.value)


def test_rows_are_replaced_removed_and_made_compact(index: Index, vectors: np.ndarray) -> None:
    index.remove(["r1", "nobody"])
    index.append(["r2"], -vectors[2:3], columns={"kind": ["bird"], "year": [1]})
    for _ in range(2):
        assert index.ids == [f"r{row}" for row in range(COUNT) if row != 1]
        assert index.search(-vectors[2], k=1).hits[0][0].id == "r2"
        assert index.search(vectors[1], k=1).hits[0][0].similarity < 0.99
        assert index.columns["kind"][1] == "bird"
        assert open_index(index.path).ids == index.ids
        index.compact()
    assert len(list(Path(index.path).glob("vectors-*"))) == 1


def test_no_room_for_the_end_of_compaction_loses_no_row(
    index: Index, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFull("no room")

    index.remove(["r1"])
    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "write", full)
        with pytest.raises(DiskFull):
            index.compact()
    index.append(["new"], vectors[:1])
    assert open_index(index.path).ids == [*(f"r{row}" for row in range(COUNT) if row != 1), "new"]


def test_two_spaces_come_together_only_by_replacing(index: Index, vectors: np.ndarray) -> None:
    old = index.space
    new = Space.named("new", D).following(old)
    with pytest.raises(InputError, match=r"of given .* and these are of new"):
        index.append(["x"], vectors[:1], space=new)
    index.replace(["r3", "r4"], vectors[3:5] + 0.01, new)
    assert index.versions.tolist() == [1 if row in {3, 4} else 0 for row in range(COUNT)]
    assert index.fingerprint == new.fingerprint
    found = index.search(vectors[3], k=COUNT).hits[0]
    assert found[0].id == "r3"
    assert {hit.id for hit in found} == set(index.ids)
    other = Space.named("strange", D)
    index.replace(["r5"], vectors[5:6], other)
    with pytest.raises(InputError, match="not compatible"):
        index.search(vectors[3])
    assert [hit.id for hit in index.search(vectors[5], k=1, space=2).hits[0]] == ["r5"]


@pytest.mark.parametrize(
    ("ids", "rows", "said"),
    [
        (["a", "a"], np.ones((2, D)), "given twice"),
        (["a"], np.ones((1, D + 1)), "dimensions"),
        (["a"], np.full((1, D), np.nan), "finite"),
        (["a"], np.zeros((1, D)), "no direction"),
        (["a", "b"], np.ones((1, D)), "one each"),
    ],
)
def test_what_does_not_fit_changes_nothing(index: Index, ids: list[str], rows: np.ndarray, said: str) -> None:
    version = index.store.version
    with pytest.raises(InputError, match=said):
        index.append(ids, rows)
    assert open_index(index.path).store.version == version


def _second(path: str) -> None:
    try:
        with open_index(path).writing():
            os._exit(4)
    except InputError as error:
        os._exit(3 if "busy with" in str(error) and "\n" not in str(error) else 5)


def test_a_second_writer_is_refused(index: Index) -> None:
    with index.writing():
        child = forks().Process(target=_second, args=(index.path,), daemon=True)
        child.start()
        child.join(PATIENCE)
    assert child.exitcode == 3


def test_bytes_that_were_being_written_do_not_count(index: Index, vectors: np.ndarray) -> None:
    folder = Path(index.path)
    for name in ("vectors-0-0.f32", "rows-0.arrow"):
        with (folder / name).open("ab") as file:
            file.write(os.urandom(777))
    again = open_index(folder)
    assert again.ids == index.ids
    again.append(["new"], vectors[:1])
    assert open_index(folder).ids == [*index.ids, "new"]
    assert not check_index(folder).wrong


@pytest.mark.parametrize("name", ["vectors-0-0.f32", "rows-0.arrow"])
def test_a_file_cut_short_is_said(index: Index, vectors: np.ndarray, name: str) -> None:
    path = Path(index.path) / name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="cut short"):
        open_index(index.path).search(vectors[0])
    assert "cut short" in check_index(index.path).wrong[0]


def test_a_newer_format_and_a_damaged_manifest_are_refused(index: Index) -> None:
    path = Path(index.path) / "manifest.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        open_index(index.path)
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        open_index(index.path)


def test_a_reader_keeps_its_version_while_files_are_written_anew(index: Index, vectors: np.ndarray) -> None:
    reader = open_index(index.path)
    index.remove([f"r{row}" for row in range(30)])
    index.compact()
    assert len(reader.search(vectors[0], k=COUNT).hits[0]) in {30, COUNT}
    assert reader.refresh() or len(reader) == 30
    assert reader.ids == index.ids


def test_exact_search_in_tiles_is_exact() -> None:
    draw = np.random.default_rng(0)
    bank, queries = draw.normal(size=(70_000, 4)).astype(np.float32), draw.normal(size=(3, 4)).astype(np.float32)
    for places in (None, np.arange(0, 70_000, 2), np.arange(5, 3000, 7)):
        kept = np.arange(len(bank)) if places is None else places
        values, rows = top(bank, queries, 9, places)
        expected = kept[np.argsort(-(queries @ bank[kept].T), axis=1, kind="stable")[:, :9]]
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_allclose(values, np.take_along_axis(queries @ bank.T, rows, 1), rtol=1e-5)


def test_promised_recall_is_had(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(60, 24))
    rows = (centres[draw.integers(0, 60, 24_000)] + 0.7 * draw.normal(size=(24_000, 24))).astype(np.float32)
    index = create(tmp_path / "big.index", Space.named("big", 24))
    index.append([str(row) for row in range(20_000)], rows[:20_000])
    promised = promise(index, 0.95)
    queries = rows[20_000:20_300]
    index.append([str(row) for row in range(20_000, 20_300)], queries)
    found, exact = index.search(queries, k=10), index.search(queries, k=10, exact=True)
    assert exact.exact
    if not promised.exact:
        assert not found.exact
        assert promised.low <= promised.recall <= promised.high
    shares = [len({h.id for h in a} & {h.id for h in b}) / 10 for a, b in zip(found.hits, exact.hits, strict=True)]
    assert np.mean(shares) >= 0.93
    assert not index.search(queries[0], where="id = '7'").hits[0][1:]


def test_a_search_for_fewer_looks_at_as_many_as_was_measured(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    bank = unit(draw.normal(size=(50, 8)) + 9).astype(np.float32)
    coarse = draw.permutation(50)  # in 8 bits all are alike

    class Alike:
        def search(self, query: np.ndarray, count: int) -> SimpleNamespace:
            return SimpleNamespace(keys=coarse[:count])

    facts = {"file": "", "rows": 50, "measured": 9, "effort": 16, "fetched": 5, "k": 10, "recall": 1.0}
    graph = Graph(tmp_path, **facts, low=1.0, high=1.0, asked=0.9)
    graph.__dict__["opened"] = Alike()
    for row in range(10):
        found = graph_nearest(graph, bank, bank[row : row + 1], 1, Beside.of(graph, 50, None))
        assert found[1].tolist() == [[row]]


def test_no_miss_among_few_queries_shows_little() -> None:
    assert _interval(np.ones(500)) == (1.0, 1 - 3 / 500, 1.0)
    draw = np.random.default_rng(0)
    above = sum(_interval((draw.random(500) < 0.996).astype(float))[1] > 0.996 for _ in range(200))
    assert above <= 0.05 * 200


def test_recall_without_a_graph_is_exact(index: Index) -> None:
    assert promise(index, 0.99).exact
    with pytest.raises(InputError, match=r"0\.5 to 1"):
        promise(index, 2)


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("n in (1, 2.5)", "a"),
        ("n != 2.5", "acde"),
        ("n < 1.5", "ae"),
        ("n >= 1.5", "cd"),
        ("n < 1e30 and not n = 1", "cde"),
        ("n = 99999999999999999999", ""),
        ("n > 1152921504606846976", "d"),
        ("f = 0.1", "a"),
        ("day >= '2020-01-03'", "cde"),
        ("kind = 'x'", "ace"),
        ("été = 'ü'", "b"),
    ],
)
def test_values_are_compared_as_they_are(tmp_path: Path, where: str, wanted: str) -> None:
    columns = {
        "n": [1, None, 2, 2**60 + 1, -5],
        "f": pa.array([0.1, 0.2, None, 0.3, 3], pa.float32()),
        "day": [dt.date(2020, 1, day) for day in range(1, 6)],
        "kind": pa.array(list("xyxyx")).dictionary_encode(),  # as categories of a table are
        "été": [None, "ü", "u", "", "o"],
    }
    index = create(tmp_path / "x.index", Space.named("x", 4))
    index.append(list("abcde"), np.eye(5, 4) + 0.1, columns=columns)
    assert open_index(index.path).columns["n"].tolist() == columns["n"]
    assert sorted(hit.id for hit in index.search(np.ones(4), where=where).hits[0]) == list(wanted)


@pytest.mark.parametrize(("size", "said"), [(3e38, "too long"), (1e-45, "no direction")])
def test_a_length_that_float32_does_not_have_is_refused(index: Index, size: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        index.append(["x"], np.full((1, D), size))
    assert len(index) == COUNT


def test_an_index_that_was_made_meanwhile_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = tmp_path / "x.index", local.exclusive

    @contextlib.contextmanager
    def late(*given: object, **more: object) -> Iterator[bool]:
        monkeypatch.setattr(local, "exclusive", whole)
        create(path, Space.named("x", 4)).append(["a"], np.ones((1, 4)))
        with whole(*given, **more) as held:  # type: ignore[arg-type]
            yield held

    monkeypatch.setattr(local, "exclusive", late)
    with pytest.raises(InputError, match="exists"):
        create(path, Space.named("x", 4))
    assert open_index(path).ids == ["a"]


def test_another_index_in_the_place_of_one_is_not_taken_for_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "x.index"
    create(path, Space.named("x", 4)).append(["a", "b"], np.eye(2, 4), paths=["1", "2"])
    reader = open_index(path)
    assert reader.ids == ["a", "b"]
    version = reader.store.version
    shutil.rmtree(path)
    other = create(path, Space.named("x", 4))
    other.append(["c", "d"], -np.eye(2, 4), paths=["3", "4"])
    assert reader.refresh()
    assert reader.store.version != version
    assert reader.ids == ["c", "d"]
    assert reader.search(-np.eye(2, 4, dtype=np.float32)[0], k=1).hits[0][0].id == "c"


def test_what_is_found_in_two_spaces_does_not_depend_on_who_else_asks(index: Index, encoder: Encoder) -> None:
    draw = np.random.default_rng(3)
    index.replace([f"r{row}" for row in range(20)], draw.normal(size=(20, D)) + 2, Space.named("new", D))
    asked = [{0: draw.normal(size=D), 1: draw.normal(size=D) + 3 * number} for number in range(3)]

    def found(some: list[dict[int, np.ndarray]]) -> list[list[str]]:
        by_space = {space: unit(np.stack([one[space] for one in some])).astype(np.float32) for space in (0, 1)}
        parts = {space: index.store.nearest(x, 9, space=space, where=None, exact=True) for space, x in by_space.items()}
        return [[hit.id for hit in hits] for hits in index._united(parts, by_space, 9).hits]

    assert found(asked) == [found([one])[0] for one in asked]


def test_a_search_of_some_spaces_says_so(index: Index, vectors: np.ndarray) -> None:
    index.replace([f"r{row}" for row in range(15)], vectors[:15], Space.named("new", D))
    found = index.search(vectors[0], space=1)
    assert (found.exact, found.recall) == (False, 0.25)
    told = answers(index, ["id:r0"])[0]
    assert told is not None
    assert (told.exact, told.recall) == (False, 0.25)
