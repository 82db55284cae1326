"""Duplicates: exact ones always, near ones where the collection itself says that they are none by chance."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.errors import InputError
from likewise.index import Space, create, open_index
from likewise.index.duplicates import duplicates
from likewise.index.near import complete_groups
from likewise.index.stores.protocol import Rows
from likewise.verbs.using.duplicates import find_duplicates
from tests.index.conftest import write_images


def test_same_bytes_and_same_pixels_are_found_without_an_encoder(images: Path) -> None:
    for split in ("train", "test"):
        (images / split).mkdir()
    for path in sorted(images.glob("*.png")):
        shutil.move(path, images / "train" / path.name)
    shutil.copy(images / "train" / "003.png", images / "test" / "a.png")
    Image.open(images / "train" / "004.png").save(images / "test" / "b.bmp")
    found = find_duplicates(images).to_json()["groups"]
    told = {(one["kind"], one["across_splits"], len(one["items"])) for one in found}
    assert told == {("same bytes", True, 2), ("same pixels", True, 2)}


def described(path: Path) -> np.ndarray:
    """A vector of an image that mirroring and small moves hardly change: what an encoder is trained to give."""
    grey = np.asarray(Image.open(path).convert("L").resize((12, 12), Image.Resampling.BOX), np.float64)
    grey -= grey.mean()
    power = np.abs(np.fft.fft2(grey))
    return (power + power[:, ::-1].take(np.arange(-1, 11), 1, mode="wrap"))[:7].ravel()


def test_planted_copies_are_found_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_images(folder, 60, seed=2, side=96)
    planted = set()
    for number in range(12):
        image = Image.open(folder / f"{number:03}.png")
        kind = number % 4
        if kind == 0:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif kind == 1:
            image = image.crop((6, 4, 88, 86)).resize((96, 96))
        elif kind == 2:
            image = Image.fromarray(np.roll(np.asarray(image), 4, axis=1))
        image.save(folder / f"{number:03}c.jpg", quality=60)
        planted.add((f"{number:03}.png", f"{number:03}c.jpg"))
    to = tmp_path / "x.index"
    paths = sorted(folder.iterdir())
    rows = np.stack([described(path) for path in paths])
    facts = {"path": [str(path) for path in paths], "pixels": [path.name for path in paths]}
    index = create(to, Space.named("described", rows.shape[1]))
    index.store.write(Rows(ids=[path.name for path in paths], vectors_ND=rows - rows.mean(0), facts=facts), 0)
    found = duplicates(open_index(to))
    pairs = {tuple(item.id for item in group.items) for group in found.groups}
    assert len(pairs & planted) / len(planted) >= 0.75  # the vectors hardly survive crops: all else is found
    assert not pairs - planted
    again = duplicates(open_index(to))
    assert again.groups == found.groups
    denied = found.groups[0]
    page = tmp_path / "page.html"
    left = find_duplicates(to, deny=[item.id for item in denied.items], html=page)
    assert len(left.groups) == len(found.groups) - 1
    assert denied not in duplicates(open_index(to)).groups
    assert page.read_text().count("<img") == sum(len(group.items) for group in left.groups)
    with pytest.raises(InputError, match="no row"):
        find_duplicates(to, deny=["x", "y"])


def test_vectors_alone_tell_copies_from_neighbours(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(400, 16))
    rows[200:210] = rows[:10] + 1e-4 * draw.normal(size=(10, 16))
    index = create(tmp_path / "x.index", Space.named("a", 16))
    index.append([str(row) for row in range(400)], rows)
    found = {tuple(sorted(int(item.id) for item in group.items)) for group in duplicates(index).groups}
    assert found == {(row, row + 200) for row in range(10)}


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_many_copies_are_one_group(tmp_path: Path, noise: float) -> None:
    draw = np.random.default_rng(0)
    rows, start = draw.normal(size=(400, 16)), 200
    for count in (2, 7, 8, 12, 13, 14, 40):
        rows[start : start + count] = rows[start] + noise * draw.normal(size=(count, 16))
        start += count
    index = create(tmp_path / "x.index", Space.named("a", 16))
    index.append([str(row) for row in range(400)], rows)
    found = duplicates(index).groups
    assert [len(group.items) for group in found[:6]] == [40, 14, 13, 12, 8, 7]
    assert {"200", "201"} in [{item.id for item in group.items} for group in found]


def test_many_copies_in_files_are_one_group(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    first = write_images(folder, 80, seed=2, side=96)[0]
    for number in range(15):
        side = 90 + number
        Image.open(first).resize((side, side)).save(folder / f"000c{number:02}.jpg", quality=60 + 2 * number)
    paths = sorted(folder.iterdir())
    rows = np.stack([described(path) for path in paths])
    facts = {"path": [str(path) for path in paths], "pixels": [path.name for path in paths]}
    index = create(tmp_path / "x.index", Space.named("described", rows.shape[1]))
    index.store.write(Rows(ids=[path.name for path in paths], vectors_ND=rows - rows.mean(0), facts=facts), 0)
    (group,) = duplicates(index).groups
    assert [item.id for item in group.items] == [path.name for path in paths if path.name.startswith("000")]


def test_groups_are_complete() -> None:
    alike = {(0, 1), (1, 2), (3, 4), (0, 2), (4, 5)}
    pairs = [(0.0, *pair) for pair in sorted(alike)]
    groups = complete_groups(pairs, lambda a, b: (min(a, b), max(a, b)) in alike)
    assert sorted(groups) == [[0, 1, 2], [3, 4]]


def test_images_that_cannot_be_read_for_now_are_not_remembered_as_unlike(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    paths = write_images(folder, 60, seed=2, side=96)
    shutil.copy(paths[0], folder / "copy.png")
    paths.append(folder / "copy.png")
    rows = np.stack([described(path) for path in paths])
    facts = {"path": [str(path) for path in paths], "pixels": [path.name for path in paths]}
    index = create(tmp_path / "x.index", Space.named("described", rows.shape[1]))
    index.store.write(Rows(ids=[path.name for path in paths], vectors_ND=rows - rows.mean(0), facts=facts), 0)
    (folder / "copy.png").rename(tmp_path / "away.png")
    paths[30].unlink()  # some are never read
    duplicates(index)
    (tmp_path / "away.png").rename(folder / "copy.png")
    found = {tuple(item.id for item in group.items) for group in duplicates(open_index(index.path)).groups}
    assert ("000.png", "copy.png") in found


def test_where_the_collection_has_few_dimensions_near_vectors_are_no_copies(tmp_path: Path) -> None:
    draw, parts = np.random.default_rng(0), []
    for dimension in (2, 3, 5, 8, 12, 16, 20, 24, 28, 32):
        plane = np.linalg.qr(draw.normal(size=(32, dimension)))[0]
        middle = 2 * draw.normal(size=32) / np.sqrt(32)
        parts.append(middle + draw.normal(size=(100, dimension)) / np.sqrt(dimension) @ plane.T)
    rows = np.concatenate(parts)
    copies = rows[900:910] + 1e-4 * draw.normal(size=(10, 32))
    index = create(tmp_path / "x.index", Space.named("a", 32))
    index.append([str(row) for row in range(1010)], np.concatenate([rows, copies]))
    found = {tuple(sorted(int(item.id) for item in group.items)) for group in duplicates(index).groups}
    assert {(row, row + 100) for row in range(900, 910)} <= found
    assert len(found) <= 12  # with one dimension for all of them there are fifty
