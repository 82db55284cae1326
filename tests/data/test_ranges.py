"""One range of values for a whole source: the same number is the same grey in each of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from likewise.data import describe, open_source, prepare
from likewise.data.decoding import ranges
from likewise.data.decoding.pixels import Range
from likewise.data.decoding.ranges import Extremes, Spans, extremes_of, fits
from likewise.data.source import BrokenImage, Source
from likewise.data.splitting.subsets import part_of
from likewise.evaluation.bank_and_query import open_rows
from tests.data.images import encoded, parquet, png, save, structs

DARK = np.full((8, 8), 3000, np.uint16)
BRIGHT = DARK.copy()
BRIGHT[0, 0] = 5000
"""Twice the same camera: 3000 is a 14-bit 47 in both."""
SHADE = 47


def first(source: Source, position: int, row: int = 5) -> int:
    """The shade of a pixel that has the same value in both images."""
    return int(source.read(position)[row, 5, 0])


def as_pil(array: Any) -> Image.Image:
    return Image.fromarray(array)


def as_signed(array: Any) -> Image.Image:
    return Image.fromarray(array.astype(np.int32) - 2000)


def as_fraction(array: Any) -> Image.Image:
    return Image.fromarray((array / 4000 - 1).astype(np.float32))


@pytest.mark.parametrize(
    ("convert", "shade"),
    [
        (np.asarray, SHADE),
        (lambda array: torch.from_numpy(array.astype(np.int32)), SHADE),
        (as_pil, SHADE),
        (lambda array: torch.from_numpy(array / 4000 - 1).bfloat16(), 96),
        (encoded, SHADE),
        (as_signed, 62),
        (as_fraction, 96),
    ],
)
def test_entries_of_a_sequence_share_a_range(convert: Any, shade: int) -> None:
    for pair in ([DARK, BRIGHT], [BRIGHT, DARK]):
        source = open_source([convert(array) for array in pair])
        assert [first(source, 0), first(source, 1)] == [shade, shade]


def test_tensors_normalised_by_people_share_a_range() -> None:
    dark = torch.full((2, 3, 8, 8), -0.6)
    dark[:, :, 4:] = 0.2
    dark[1] += 0.0
    dark[1, :, :4] = 0.9
    source = open_source(TensorDataset(dark, torch.arange(2)))
    assert [first(source, 0), first(source, 1)] == [153, 153]
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    source = open_source(TensorDataset(((dark + 1) / 2 - mean) / std, torch.arange(2)))
    np.testing.assert_array_equal(source.read(0)[5, 5], source.read(1)[5, 5])


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_files_of_a_folder_share_a_range(tmp_path: Path, ending: str) -> None:
    for name, array in (("a", DARK), ("b", BRIGHT)):
        save(tmp_path / "p" / f"{name}.{ending}", Image.fromarray(array))
    save(tmp_path / "p" / "c.png", np.full((8, 8, 3), 9, np.uint8))
    source = open_source(tmp_path / "p")
    assert [first(source, at) for at in range(3)] == [SHADE, SHADE, 9]
    listed = open_source([str(tmp_path / "p" / f"{name}.{ending}") for name in "ab"])
    assert [first(listed, 0), first(listed, 1)] == [SHADE, SHADE]


@pytest.mark.parametrize(("convert", "shade"), [(as_fraction, 96), (as_signed, 62)])
def test_float_and_signed_tiff_share_a_range(tmp_path: Path, convert: Any, shade: int) -> None:
    save(tmp_path / "p" / "a.tiff", convert(DARK))
    save(tmp_path / "p" / "b.tiff", convert(BRIGHT))
    source = open_source(tmp_path / "p")
    assert [first(source, 0), first(source, 1)] == [shade, shade]


def test_colour_of_sixteen_bits_shares_the_range_of_grey(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(png(np.repeat(DARK[..., None], 3, axis=2), bits=16, kind=2))
    (tmp_path / "p" / "b.png").write_bytes(png(BRIGHT[..., None], bits=16, kind=0))
    source = open_source(tmp_path / "p")
    assert [first(source, 0), first(source, 1)] == [SHADE, SHADE]
    assert prepare(source, short_side=None).ranges == {"whole": Range(0.0, 16383.0)}


def test_splits_share_a_range_and_the_fingerprint_follows_it(tmp_path: Path) -> None:
    for split, array in (("train", DARK), ("test", BRIGHT)):
        for number in range(2):
            save(tmp_path / "p" / split / f"{number}.png", Image.fromarray(array))
    train, test = (open_source(tmp_path / "p", split=split) for split in ("train", "test"))
    assert first(train, 0) == first(test, 0) == SHADE
    before = train.fingerprint
    assert open_source(tmp_path / "p", split="train").fingerprint == before
    save(tmp_path / "p" / "test" / "new.png", Image.fromarray(BRIGHT * 10))
    train = open_source(tmp_path / "p", split="train")
    assert train.fingerprint != before
    assert first(train, 0) == round(3000 / 257)
    images = prepare(train, short_side=None)
    assert images.ranges == {"whole": Range(0.0, 65535.0)}
    assert prepare(open_source(tmp_path / "p", split="train"), short_side=None).ranges == images.ranges
    assert images.subset(np.arange(1)).ranges == images.ranges


def test_lists_and_tables_share_a_range_over_their_splits(tmp_path: Path) -> None:
    for name, array in (("a", DARK), ("b", BRIGHT)):
        save(tmp_path / f"{name}.png", Image.fromarray(array))
    (tmp_path / "list.csv").write_text("path,split\na.png,train\nb.png,test\n")
    columns = {"image": structs([encoded(DARK), encoded(BRIGHT)]), "split": pa.array(["train", "test"])}
    for data in (tmp_path / "list.csv", parquet(tmp_path / "t.parquet", columns)):
        shades = [first(open_source(data, split=split), 0) for split in ("train", "test")]
        assert shades == [SHADE, SHADE], data
        assert prepare(open_source(data, split="train"), short_side=None).ranges == {"whole": Range(0.0, 16383.0)}


def test_folders_of_bytes_have_no_range_and_their_old_fingerprint(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a.png")
    source = open_source(tmp_path / "p")
    assert source.spans is not None
    assert source.spans.ranges() == {}
    assert "values" not in str(describe(source))
    assert prepare(source, short_side=None).ranges == {}


def test_deep_images_under_another_ending_are_broken_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").write_bytes(encoded(DARK))
    with pytest.raises(BrokenImage, match="under the ending of a format that has 8"):
        open_source(tmp_path / "p").read(0)


def test_arrays_of_splits_share_a_range_and_bytes_keep_theirs() -> None:
    arrays = {"train_images": DARK[None].repeat(2, 0), "test_images": BRIGHT[None].repeat(2, 0)}
    assert [first(open_source(arrays, split=split), 1) for split in ("train", "test")] == [SHADE, SHADE]
    mixed = {"train_images": DARK[None], "test_images": np.full((1, 8, 8), 9, np.uint8)}
    assert [first(open_source(mixed, split=split), 0) for split in ("train", "test")] == [round(3000 * 255 / 4095), 9]


def test_all_of_an_array_is_looked_at() -> None:
    many = np.zeros((5000, 2, 2), np.float32)
    many[4321] = 7.0
    assert extremes_of(many) == {"fraction": Extremes(0.0, 7.0)}
    assert extremes_of(np.full((3, 2, 2), np.nan)) == {}
    assert extremes_of(np.zeros((3, 2, 2), np.uint8)) == {}
    assert extremes_of(np.array([[20000]], np.uint16)) == {"whole": Extremes(0.0, 65535.0)}


def test_ranges_are_kept_where_they_took_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    save(tmp_path / "p" / "a.png", Image.fromarray(DARK))
    open_source(tmp_path / "p")
    assert not (cache / "ranges").exists()
    monkeypatch.setattr(ranges, "_WORTH_KEEPING_SECONDS", -1.0)
    open_source(tmp_path / "p")
    (kept,) = (cache / "ranges").glob("*.json")
    kept.write_text('{"whole": [0, 60000]}')
    assert first(open_source(tmp_path / "p"), 0) == round(3000 / 257)
    kept.write_text("damaged")
    assert first(open_source(tmp_path / "p"), 0) == round(3000 * 255 / 4095)


# Other data, with an encoder that was trained on such ones ---------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "wished", "suits"),
    [
        ((0, 900), (0, 4095), True),
        ((0, 300), (0, 4095), False),
        ((0, 5000), (0, 4095), False),
        ((-0.2, 0.9), (-1, 1), True),
        ((0, 1), (0, 255), False),
        ((-500, 1200), (-1000, 3000), True),
    ],
)
def test_the_range_of_training_is_used_where_it_suits(
    found: tuple[float, float], wished: tuple[float, float], *, suits: bool
) -> None:
    assert fits(Extremes(*found), Range(*wished)) is suits


def test_other_data_is_shown_by_the_range_of_training() -> None:
    source = open_source([DARK])
    shown = source.shown_by({"whole": Range(0.0, 16383.0)})
    assert first(shown, 0) == SHADE
    assert shown.fingerprint != source.fingerprint
    part = source.sample(1).shown_by({"whole": Range(0.0, 16383.0)})
    assert first(part, 0) == SHADE
    assert source.shown_by({"whole": Range(0.0, 100.0)}) is source
    assert source.shown_by({}) is source
    spans = Spans(lambda: {"whole": Extremes(0, 900)}, {"whole": Range(0, 4095)})
    assert spans.ranges() == {"whole": Range(0, 4095)}


def test_another_range_changes_nothing_but_the_shades() -> None:
    deep = {"images": np.stack([DARK, BRIGHT] * 4), "labels": np.arange(8) % 2}
    noisy, _ = part_of(open_source(deep), "noise:0.5")
    splits = {"val_images": deep["images"], "val_places": np.arange(8), "test_images": deep["images"]}
    both = open_source(splits | {"test_places": np.arange(8)}, columns=("places",))
    for source in (noisy, both):
        shown = source.shown_by({"whole": Range(0.0, 32767.0)})
        assert first(shown, 0) != first(source, 0)
        assert shown.fingerprint != source.fingerprint
        assert shown.columns.keys() == source.columns.keys() != set()
        np.testing.assert_array_equal(shown.labels, source.labels)
        assert source.shown_by({}) is source


def test_evaluation_says_by_which_range_it_shows() -> None:
    images = np.stack([DARK, BRIGHT] * 10)
    images[:, 1, 1] = 600 * np.arange(20)  # no copies of each other
    data = {"images": images, "labels": np.arange(20) % 2}
    how: dict[str, Any] = {"image_size": 8, "quiet": True}
    suits = open_rows(data, ranges={"whole": Range(0.0, 16383.0)}, **how)
    assert "values: of whole numbers, 0 becomes black and 16383 white, in all images" in suits.notes
    assert int(suits.bank.image(0)[5, 5, 0]) == SHADE
    other = open_rows(data, ranges={"whole": Range(0.0, 1023.0)}, **how)
    assert "the encoder was trained with other values (0 to 1023), which do not suit these" in other.notes
    assert any("trained with other values (0 to 255)" in note for note in open_rows(data, ranges={}, **how).notes)
    assert not any("trained with" in note for note in open_rows(data, **how).notes)
