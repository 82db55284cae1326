"""Embedding into an index: every image once, whatever happens meanwhile; only what changed, the next time."""

from __future__ import annotations

import io
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from likewise.data.decoding.pixels import Range
from likewise.encoders import Encoder, EncoderSpec, build, save_encoder
from likewise.errors import InputError, LikewiseError
from likewise.evaluation.encoder_source import Subject
from likewise.index import Space, create, open_index, probes
from likewise.index.checkup import check_index
from likewise.index.embedding import on_ray, streaming
from likewise.index.embedding.columns import MetadataTable
from likewise.index.embedding.embed import embed
from likewise.verbs.using.search import search
from tests.index.conftest import SPEC, write_images


def test_rows_are_what_the_encoder_gives(images: Path, weights: Path, encoder: Encoder, tmp_path: Path) -> None:
    done = embed(weights, images, to=tmp_path / "x.index")
    assert (done.embedded, done.skipped, done.rows) == (20, 0, 20)
    index = open_index(tmp_path / "x.index")
    expected = encoder.embed(str(images)).numpy()
    np.testing.assert_allclose(index.vectors() * index.norms[:, None], expected, rtol=1e-4, atol=1e-5)
    found = search(index, images / "007.png", k=2)
    assert found.hits[0].path == str(images / "007.png")
    assert found.hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert [hit.id for hit in search(index, "id:007.png", k=1).hits] == [found.hits[1].id]


def test_a_second_call_takes_in_what_changed(images: Path, weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.index"
    embed(weights, images, to=to)
    again = embed(weights, images, to=to)
    assert (again.embedded, again.skipped) == (0, 20)
    (images / "000.png").unlink()
    (images / "001.png").write_bytes((images / "002.png").read_bytes())
    os.utime(images / "003.png")
    (images / "broken.png").write_bytes(b"nothing")
    write_images(images / "new", 2, seed=5)
    done = embed(weights, images, to=to)
    assert (done.embedded, done.skipped, done.removed) == (3, 18, 1)
    assert [one.name for one in done.broken] == ["broken.png"]
    index = open_index(to)
    assert sorted(index.ids) == sorted([f"{row:03}.png" for row in range(1, 20)] + ["new/000.png", "new/001.png"])
    found = search(index, "id:001.png", k=1).hits[0]
    assert (found.id, round(found.similarity, 4)) == ("002.png", 1.0)


@pytest.mark.parametrize("name", ["x.parquet", "x.npz"])
def test_files_hold_the_same_and_are_added_to(images: Path, weights: Path, tmp_path: Path, name: str) -> None:
    to = tmp_path / name
    embed(weights, images, to=to)
    write_images(images / "new", 1, seed=9)
    done = embed(weights, images, to=to)
    assert (done.embedded, done.skipped) == (1, 20)
    if name.endswith(".npz"):
        with np.load(to) as held:
            rows, ids = held["vectors"], held["id"].tolist()
    else:
        table = pyarrow.parquet.read_table(to)
        rows, ids = np.array(table["vector"].to_pylist(), np.float32), table["id"].to_pylist()
    assert sorted(path.name for path in tmp_path.glob("x*")) == [name]
    assert len(set(ids)) == len(ids) == len(rows) == 21
    save_encoder(
        build(EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16), seed=9), tmp_path / "o.safetensors"
    )
    with pytest.raises(InputError, match=rf"{name} holds vectors of"):
        embed(tmp_path / "o.safetensors", images, to=to)
    assert sorted(path.name for path in tmp_path.glob("x*")) == [name]
    to.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="was not written by `likewise embed`"):
        embed(weights, images, to=to)


def test_shards_are_put_together_by_the_last(images: Path, weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.index"
    assert embed(weights, images, to=to, shard="2/3").path.endswith(".part-2-of-3")
    embed(weights, images, to=to, shard="3/3")
    assert not to.exists()
    embed(weights, images, to=to, shard="1/3")
    index = open_index(to)
    assert sorted(index.ids) == [f"{row:03}.png" for row in range(20)]
    assert [path.name for path in tmp_path.glob("x.index*")] == ["x.index"]
    assert search(index, images / "004.png", k=1).hits[0].id == "004.png"
    with pytest.raises(InputError, match="3/16"):
        embed(weights, images, to=to, shard="4/3")


def test_a_ray_cluster_gives_the_same_rows_and_the_next_call_goes_on(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    (images / "broken.png").write_bytes(b"nothing")
    here, there = tmp_path / "here.index", tmp_path / "there.index"
    embed(weights, images, to=here)
    done = embed(weights, images, to=there, ray="local", batch_size=7)
    assert (done.embedded, done.skipped) == (20, 0)
    assert [one.name for one in done.broken] == ["broken.png"]
    one, other = open_index(here), open_index(there)
    order = [other.ids.index(row) for row in one.ids]
    np.testing.assert_allclose(other.vectors()[order], one.vectors(), atol=1e-5)
    assert other.store.table().take(order).select(["id", "bytes", "pixels", "stamp"]) == one.store.table().select(
        ["id", "bytes", "pixels", "stamp"]
    )
    again = embed(weights, images, to=there, ray="local")
    assert (again.embedded, again.skipped) == (0, 20)
    assert not check_index(there).wrong


def test_what_a_cluster_cannot_do_is_refused(images: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --shard and --device out"):
        embed(weights, images, to=tmp_path / "x.index", ray="auto", shard="1/2")
    with pytest.raises(InputError, match="data that every machine can open"):
        embed(weights, [images / "000.png"], to=tmp_path / "x.index", ray="auto")


DRIVER = """
import pickle, sys
from likewise.index.embedding.on_ray import Ended, Joined
pickle.load(sys.stdin.buffer)
for one in ({said}):
    pickle.dump(one, sys.stdout.buffer)
"""
"""A driver that says some words and ends, as Ray ends one."""


@pytest.mark.parametrize(
    ("said", "error", "match", "to"),
    [
        ("", InputError, "no Ray cluster at 'auto' that can be joined", "x.index"),
        ("Joined(),", LikewiseError, "the Ray cluster went away; rows that were written are kept", "there.index"),
        ("Joined(), Ended('no such data'),", LikewiseError, "no such data; rows that were written are kept", "x.npz"),
    ],
)
def test_a_cluster_that_fails_leaves_an_index_whole_and_no_empty_one(
    images: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    error: type[LikewiseError],
    match: str,
    to: str,
) -> None:
    monkeypatch.setattr(on_ray, "_library", lambda: SimpleNamespace(cloudpickle=pickle))
    monkeypatch.setattr(on_ray, "_DRIVER", (sys.executable, "-c", DRIVER.format(said=said)))
    embed(weights, images, to=tmp_path / "there.index")
    write_images(images / "new", 2, seed=3)
    with pytest.raises(error, match=match):
        embed(weights, images, to=tmp_path / to, ray="auto")
    assert len(open_index(tmp_path / "there.index")) == 20
    assert not check_index(tmp_path / "there.index").wrong
    assert [path.name for path in tmp_path.iterdir() if path.suffix in {".index", ".npz"}] == ["there.index"]


def test_columns_and_labels_can_be_asked_for(images: Path, weights: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(images.glob("*.png"))):
        (images / "ab"[number % 2]).mkdir(exist_ok=True)
        path.rename(images / "ab"[number % 2] / path.name)
    table = tmp_path / "more.csv"
    table.write_text("id,year\na/000.png,1999\nb/001.png,2001\n")
    embed(weights, images, to=tmp_path / "x.index", labels="folders", columns=table)
    index = open_index(tmp_path / "x.index")
    assert {hit.id[0] for hit in search(index, "id:a/000.png", k=30, where="label = 'b'").hits} == {"b"}
    assert [hit.id for hit in search(index, "id:a/000.png", where="year > 2000").hits] == ["b/001.png"]
    table.write_text("name,year\na,1\n")
    with pytest.raises(InputError, match="no column 'id'"):
        embed(weights, images, to=tmp_path / "y.index", columns=table)


def test_no_room_leaves_the_index_as_it_was(
    images: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from likewise.errors import DiskFull
    from likewise.index.stores import files

    to = tmp_path / "x.index"
    embed(weights, images, to=to)
    write_images(images / "new", 2, seed=3)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        embed(weights, images, to=to)
    monkeypatch.undo()
    assert len(open_index(to)) == 20
    assert not check_index(to).wrong


# Spaces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["mean", "size", "weights", "width"])
def test_another_space_is_refused(images: Path, encoder: Encoder, weights: Path, tmp_path: Path, change: str) -> None:
    to = tmp_path / "x.index"
    embed(weights, images, to=to)
    spec = {"mean": replace(SPEC, mean=(0.5, 0.5, 0.5)), "size": replace(SPEC, image_size=20)}.get(change, SPEC)
    other = build(replace(SPEC, width=16) if change == "width" else spec, seed=0 if change != "weights" else 1)
    if change not in {"weights", "width"}:
        other.load_state_dict(encoder.state_dict())
    path = tmp_path / "other" / "encoder.safetensors"
    save_encoder(other, path)
    with pytest.raises(InputError, match="put them into an index of their own"):
        embed(path, images, to=to)
    assert len(open_index(to)) == 20


def test_threads_batches_and_bfloat16_are_the_same_space_and_another_filter_is_not(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space.of_encoder(encoder)
    assert space.noise > 0
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    again = Space.of_encoder(encoder, measured=False)
    torch.set_num_threads(before)
    assert not space.differences(again)
    for other in (probes.vectors(encoder, batch_size=1), probes.vectors(encoder, bf16=True)):
        assert probes.distance(space.vectors_of_probes, other) <= space.tolerance
    restored = Space.from_json(space.to_json(), "here")
    assert restored == space

    def nearest(pixels: np.ndarray, side: int | None) -> np.ndarray:
        rows = np.linspace(0, len(pixels) - 1, side).astype(int)
        return pixels[rows][:, rows]

    monkeypatch.setattr(probes, "fit", nearest)
    assert "probe images" in space.differences(Space.of_encoder(encoder, measured=False))[0]


def test_the_doctor_finds_what_was_mixed(images: Path, encoder: Encoder, weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.index"
    embed(weights, images, to=to)
    assert not check_index(to).wrong
    index = open_index(to)
    other = build(SPEC, seed=3)
    index.append(index.ids[:2], other.embed([str(images / f"{row:03}.png") for row in range(2)]).numpy())
    table = index.store.table()
    assert table["path"][0].as_py() == ""  # a row that was written without its image says nothing to the doctor
    for row in range(2, 5):
        place = index.ids.index(f"{row:03}.png")
        vector = other.embed(index.paths[place]).numpy()
        index.replace([f"{row:03}.png"], vector, index.space)  # what somebody's script might do
    assert "mixed with vectors of another encoder" in check_index(to).wrong[0]


def test_embedding_into_nothing_that_is_known_is_refused(images: Path, weights: Path, tmp_path: Path) -> None:
    for to, said in ((tmp_path / "x.csv", "name an index"), (images / "000.png.index" / "y", "name an index")):
        with pytest.raises(InputError, match=said):
            embed(weights, images, to=to)
    with pytest.raises(InputError, match="batch_size=0: allowed is 1 or more"):
        embed(weights, images, to=tmp_path / "x.index", batch_size=0)
    with pytest.raises(InputError, match="no image"):
        search(create(tmp_path / "e.index", Space.named("a", 3)), tmp_path / "nothing.jpg")


def test_data_of_one_name_and_the_same_file_names_keep_their_rows(weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.index"
    for number in range(3):
        write_images(tmp_path / f"camera{number}" / "images", 3, seed=number)
    for number in (0, 1, 2, 1):
        embed(weights, tmp_path / f"camera{number}" / "images", to=to)
    index = open_index(to)
    assert len(index) == 9
    assert sorted(Path(path).parts[-3] for path in index.paths) == ["camera0"] * 3 + ["camera1"] * 3 + ["camera2"] * 3
    for row, path in zip(index.ids, index.paths, strict=True):
        assert index.search(path, k=1).hits[0][0].id == row


def test_embedding_within_an_upgrade_touches_no_row_of_other_data(weights: Path, tmp_path: Path) -> None:
    to, old, new = tmp_path / "x.index", tmp_path / "a", tmp_path / "b"
    write_images(old, 4, seed=1)
    write_images(new, 4, seed=2)
    other = build(SPEC, seed=7).eval()
    save_encoder(other, tmp_path / "new" / "encoder.safetensors")
    embed(weights, old, to=to)
    index = open_index(to)
    first = index.ids[:1]
    index.replace(first, other.embed([Path(index.paths[0])]).numpy(), Space.of_encoder(other), encoder=other)
    (old / "003.png").unlink()
    embed(tmp_path / "new", new, to=to)
    assert sorted(open_index(to).ids) == sorted(
        [f"{row:03}.png" for row in range(4)] + [f"b/{n:03}.png" for n in range(4)]
    )
    embed(tmp_path / "new", old, to=to)
    done = open_index(to)
    assert "003.png" not in done.ids  # its image is gone, and its vector was of the encoder before
    assert set(done.versions.tolist()) == {1}


def test_an_image_that_is_broken_in_one_split_takes_none_out_of_another(weights: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "images" / split, 3, seed=len(split))
    (tmp_path / "images" / "test" / "000.png").write_bytes(b"nothing")
    to = tmp_path / "x.index"
    for _ in range(2):
        assert embed(weights, tmp_path / "images", to=to).rows == 5
    assert "train/000.png" in open_index(to).ids


def test_a_file_that_is_written_meanwhile_is_looked_at_the_next_time(
    images: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = streaming.read_bytes

    def while_it_is_written(path: str) -> bytes:
        content = whole(path)
        if path.endswith("005.png"):
            write_images(tmp_path / "other", 1, seed=99, side=50)
            Path(path).write_bytes((tmp_path / "other" / "000.png").read_bytes())
        return content

    monkeypatch.setattr(streaming, "read_bytes", while_it_is_written)
    embed(weights, images, to=tmp_path / "x.index")
    monkeypatch.undo()
    assert embed(weights, images, to=tmp_path / "x.index").embedded == 1
    assert not check_index(tmp_path / "x.index").wrong


def test_images_of_more_than_8_bits_are_found_by_themselves(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for number, path in enumerate(write_images(tmp_path / "shades", 8)):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * (2 + 30 * (number % 4))
        Image.fromarray(grey).save(tmp_path / "deep" / path.name)
    embed(weights, tmp_path / "deep", to=tmp_path / "x.index")
    index = open_index(tmp_path / "x.index")
    for row, path in zip(index.ids, index.paths, strict=True):
        for query in (path, Path(path), Image.open(io.BytesIO(Path(path).read_bytes()))):
            found = index.search(query, k=1).hits[0][0]
            assert (found.id, round(found.similarity, 4)) == (row, 1.0)


def test_a_table_names_images_as_they_are_written(images: Path, weights: Path, tmp_path: Path) -> None:
    for path in images.iterdir():
        path.rename(path.with_suffix(""))  # tar members and row numbers have names like 007
    table = tmp_path / "more.csv"
    table.write_text("id,flag,when,big\n007,true,2020-01-02,9007199254740993\n010,,,\n")
    ids = [f"{row:03}" for row in range(20)]
    found = MetadataTable.read(table, ids).at([7, 10, 11])
    assert found["big"].to_pylist() == [2**53 + 1, None, None]
    table.write_text("id,flag\n007,1\n007,2\n")
    with pytest.raises(InputError, match="'007' twice"):
        MetadataTable.read(table, ids)


def test_a_file_holds_columns_with_gaps(images: Path, weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text("id,flag,when,big\n007.png,true,2020-01-02,9007199254740993\n010.png,,,\n")
    for _ in range(2):
        embed(weights, images, to=tmp_path / "x.npz", columns=table)
        write_images(images / "new", 1, seed=4)
    with np.load(tmp_path / "x.npz") as held:
        at = held["id"].tolist().index("007.png")
        assert [str(held[name][at]) for name in ("flag", "when", "big")] == ["true", "2020-01-02", "9007199254740993"]


def test_a_part_of_what_the_data_was_before_is_not_taken_for_one(images: Path, weights: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.index"
    embed(weights, images, to=to, shard="1/2")
    write_images(images / "new", 3, seed=8)
    embed(weights, images, to=to, shard="2/2")
    assert not to.exists()
    embed(weights, images, to=to, shard="1/2")
    assert len(open_index(to)) == 23


def test_rows_that_are_there_get_the_labels_and_columns_of_a_later_call(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(images.glob("*.png"))):
        (images / "ab"[number % 2]).mkdir(exist_ok=True)
        path.rename(images / "ab"[number % 2] / path.name)
    table, to = tmp_path / "more.csv", tmp_path / "x.index"
    table.write_text("id,year\na/000.png,1999\n")
    embed(weights, images, to=to, labels="none", columns=table)
    before = open_index(to)
    assert set(before.columns["label"].tolist()) == {None}
    table.write_text("id,year\na/000.png,2001\nb/001.png,7\n")
    done = embed(weights, images, to=to, labels="folders", columns=table)
    assert (done.embedded, done.skipped) == (0, 20)
    index = open_index(to)
    at = [index.ids.index(one) for one in before.ids]
    assert [index.columns["label"][row] for row in at] == [one[0] for one in before.ids]
    assert [index.columns["year"][index.ids.index(one)] for one in ("a/000.png", "b/001.png")] == [2001, 7]
    np.testing.assert_allclose(index.vectors()[at], before.vectors(), atol=1e-6)
    assert not check_index(to).wrong
    again = embed(weights, images, to=to)
    assert again.skipped == 20
    assert None not in open_index(to).columns["label"].tolist()  # a call that names none takes none away
    table.write_text("id,other\na/000.png,1\n")
    with pytest.raises(InputError, match="has no column 'other'"):
        embed(weights, images, to=to, columns=table)


def test_images_of_more_than_8_bits_are_shown_as_the_rows_before(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, to = tmp_path / "deep", tmp_path / "x.index"
    deep.mkdir()
    for number, path in enumerate(write_images(tmp_path / "shades", 5)):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 40
        Image.fromarray(grey).save(deep / path.name)
        if number == 3:
            embed(weights, deep, to=to)
    ((kind, _),) = open_index(to).ranges(0).items()
    monkeypatch.setattr(Subject, "ranges", lambda _: {kind: Range(0, 65535)})  # what a run knows of its own images
    embed(weights, deep, to=to)
    assert not check_index(to).wrong
