"""Sources of masks, and masks of a data set: made once, in the places of their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from likewise.data import Images, open_source, prepare
from likewise.data.sources.scenes import mask_of
from likewise.errors import InputError
from likewise.evaluation.objects import box_overlap, localisation, mask_overlap
from likewise.localisation import sources
from likewise.localisation.boxes import boxes
from likewise.localisation.crf import refined
from likewise.localisation.masks import Masks
from likewise.localisation.sources import open_masks

COUNT = 40


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def scenes() -> Images:
    whole = prepare(open_source("synthetic:scenes", split="mixed_rand"), short_side=None)
    return whole.subset(np.arange(COUNT))


def true_masks(images: Images) -> list[np.ndarray]:
    found = [mask_of(name) for name in images.names]
    assert all(mask is not None for mask in found)
    return found  # type: ignore[return-value]


def all_of(masks: Masks, images: Images) -> np.ndarray:
    height, width = images.sizes.max(0)
    return masks.gather(np.arange(len(images)), int(height), int(width)).numpy()


@pytest.mark.parametrize(("source", "least"), [("given", 0.999), ("mbd", 0.6), ("grabcut", 0.6), ("center", 0.2)])
def test_sources_find_the_objects_of_scenes(source: str, least: float, scenes: Images) -> None:
    if source == "grabcut":
        pytest.importorskip("cv2")
    found = all_of(Masks(scenes, source), scenes)
    mean = np.mean([mask_overlap(one, true) for one, true in zip(found, true_masks(scenes), strict=True)])
    assert mean > least
    if source == "center":
        assert mean < 0.45, "a control must not find them"


def test_masks_are_made_once_and_stand_in_the_order_of_the_images(
    scenes: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Masks(scenes, "given", regions=True)
    monkeypatch.setattr(sources, "_fitted", lambda *_: pytest.fail("made again"))
    again = Masks(scenes, "given", regions=True)
    index = np.array([7, 0, 31])
    truth = true_masks(scenes)
    for masks in (first, again):
        assert all(np.array_equal(a, truth[b]) for a, b in zip(masks.gather(index, 32, 32).numpy(), index, strict=True))
        regions = masks.regions(index)
        assert regions is not None
        for found, at in zip(regions.numpy(), index, strict=True):
            assert np.allclose(found[0], boxes(truth[at])[0], atol=1e-6)


def test_masks_outside_the_usable_shares_are_emptied(scenes: Images) -> None:
    truth = np.stack(true_masks(scenes))
    shares = truth.sum((1, 2)) / 255 / 32**2
    least, most = np.quantile(shares, [0.25, 0.75])
    found = all_of(Masks(scenes, "given", between=(float(least), float(most))), scenes)
    used = (shares >= least) & (shares <= most)
    assert 0 < used.sum() < COUNT
    assert np.array_equal(found[used], truth[used])
    assert not found[~used].any()


def test_images_of_several_sizes_have_masks_of_their_size(tmp_path: Path) -> None:
    folder, marks = tmp_path / "photos", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    for number, (width, height) in enumerate([(40, 30), (64, 20), (24, 90)]):
        mask = np.zeros((height, width), np.uint8)
        mask[height // 3 : height // 2, width // 4 : width // 2] = 255
        Image.fromarray(np.repeat(mask[..., None], 3, 2)).save(folder / f"{number}.png")
        Image.fromarray(mask).save(marks / f"{number}.png")
    for side in (None, 16):
        images = prepare(open_source(folder), short_side=side)
        masks = Masks(images, f"given:{marks}")
        pixels, _ = images.gather(np.arange(3))
        found = masks.gather(np.arange(3), *pixels.shape[1:3])
        away = (found.float() - pixels[..., 0].float()).abs()
        assert float(away.mean()) < (0.5 if side is None else 12.0), side


@pytest.mark.parametrize("form", ["struct", "paths"])
def test_masks_stand_in_a_column_too(tmp_path: Path, form: str) -> None:
    draw = np.random.default_rng(0)
    marks = [(draw.random((12, 12)) > 0.5).astype(np.uint8) * 255 for _ in range(4)]
    rows = []
    for number, mark in enumerate(marks):
        (tmp_path / "marks").mkdir(exist_ok=True)
        Image.fromarray(np.full((12, 12, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray(mark).save(tmp_path / "marks" / f"m{number}.png")
        cells = [tmp_path / f"{number}.png", tmp_path / "marks" / f"m{number}.png"]
        rows.append([{"bytes": cell.read_bytes(), "path": cell.name} for cell in cells])
    if form == "struct":
        table, column = tmp_path / "all.parquet", "mask"
        pq.write_table(pa.table({"image": [row[0] for row in rows], "mask": [row[1] for row in rows]}), table)
    else:
        table, column = tmp_path / "all.csv", "seg"
        table.write_text("path,seg\n" + "".join(f"{n}.png,marks/m{n}.png\n" for n in range(4)))
    images = prepare(open_source(table), short_side=None).subset(np.array([2, 0, 3]))
    found = all_of(Masks(images, f"given:{table}:{column}"), images)
    assert all(np.array_equal(one, marks[at]) for one, at in zip(found, [2, 0, 3], strict=True))
    with pytest.raises(InputError, match=f"did you mean '{column}'"):
        open_masks(f"given:{table}:{column}s", images)
    images.names = ["other.png", *list(images.names)[1:]]
    with pytest.raises(InputError, match="has no mask for other"):
        open_masks(f"given:{table}:{column}", images)


def test_palettes_and_ones_are_masks_too(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [255, 0, 1]], np.uint8)
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([0] * 768)
    for name, image, expected in (
        ("p.png", palette, [[0, 255, 255], [0, 0, 255]]),
        ("ones.png", Image.fromarray((values > 0).astype(np.uint8)), [[0, 255, 255], [255, 0, 255]]),
        ("soft.png", Image.fromarray(values * 100), (values * np.uint8(100)).tolist()),
    ):
        image.save(tmp_path / name)
        assert np.asarray(sources.read_mask(tmp_path / name)).tolist() == expected


class Brightness(nn.Module):
    """Bright is salient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4.0 * x.mean(1, keepdim=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_model_is_a_source(tmp_path: Path, scenes: Images) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "bright.onnx"
    torch.onnx.export(Brightness(), (torch.zeros(4, 3, 32, 32),), str(path), dynamo=False)  # four at a time
    found = all_of(Masks(scenes, f"onnx:{path}"), scenes)
    grey = np.stack([scenes.image(at).mean(2) for at in range(COUNT)])
    assert np.corrcoef(found.ravel(), grey.ravel())[0, 1] > 0.8
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match="no ONNX model"):
        open_masks(f"onnx:{tmp_path / 'no.onnx'}", scenes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mdb", "nearest is 'mbd'"),
        ("contracam", "needs a run"),
        ("contracam:/no/run", "does not exist"),
        ("onnx:/no/file", "no such file"),
        ("given:/no/folder", "no such folder"),
        ("given:/no/file.parquet:mask", "no such table"),
        ("mbd:3", "takes nothing after it"),
    ],
)
def test_sources_that_cannot_be_are_one_line(text: str, words: str, scenes: Images) -> None:
    with pytest.raises(InputError, match=words) as caught:
        open_masks(text, scenes)
    assert "\n" not in str(caught.value)


def test_given_without_masks_is_refused(tmp_path: Path) -> None:
    images = prepare(open_source(np.zeros((3, 8, 8, 3), np.uint8)), short_side=None)
    with pytest.raises(InputError, match="knows no masks"):
        open_masks("given", images)


def test_boxes_hold_their_parts_the_largest_first() -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[2:6, 3:8], mask[10:18, 20:35] = 200, 255
    found = boxes(mask, margin=0.0)
    assert np.allclose(found * [20, 40, 20, 40], [[10, 20, 8, 15], [2, 3, 4, 5]])
    wide = boxes(mask)
    assert (wide[:, 2:] >= found[:, 2:]).all()
    assert ((wide >= 0) & (wide[:, :1] + wide[:, 2:3] <= 1 + 1e-6)).all()
    assert len(boxes(mask, most=1)) == 1
    assert len(boxes(np.zeros((5, 5), np.uint8))) == 0
    assert np.allclose(boxes(np.full((5, 5), 7, np.uint8)), [[0, 0, 1, 1]])


def test_overlaps_and_scores() -> None:
    one = np.array([0.0, 0.0, 2.0, 2.0])
    assert box_overlap(one, np.array([[0, 0, 2, 2], [1, 1, 2, 2], [5, 5, 1, 1]])).tolist() == [1.0, 1 / 7, 0.0]
    half = np.zeros((4, 4), np.uint8)
    half[:, :2] = 255
    whole = np.full((4, 4), 255, np.uint8)
    assert mask_overlap(half, whole) == 0.5
    assert mask_overlap(half * 0, half * 0) == 1.0
    found = localisation([one[None], one[:0].reshape(0, 4)], [one[None]] * 2, [half, half], [whole, half])
    assert found == (0.5, 0.5, 0.75, 2)
    with pytest.raises(InputError, match="no image has a true object"):
        localisation([one[None]], [one[:0].reshape(0, 4)], [half], [half])


def test_a_rough_mask_is_drawn_to_the_edge() -> None:
    image = torch.zeros(3, 24, 24)
    image[:, 6:18, 6:18] = 1.0
    true = (255 * image[0]).byte().numpy()
    rough = torch.full((24, 24), 0.1)
    rough[8:20, 4:16] = 0.9
    fine = refined(rough, image)
    before, after = (mask_overlap((255 * each).byte().numpy(), true) for each in (rough, fine))
    assert before < 0.75
    assert after > 0.95
    assert not refined(torch.zeros(24, 24), image).any()
