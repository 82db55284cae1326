"""Runs that read captions: classes by their names, recall of captions, search by text, names of clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import likewise
from likewise.cli import main
from likewise.discovery.finding import Class
from likewise.discovery.naming import ClusterName, called, cluster_names
from likewise.errors import InputError
from likewise.evaluation.probes.texts import class_vectors
from likewise.methods.words import images_of, nearest_texts, texts_of
from likewise.runs import RunDirectory

TINTS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on tinted images with files of captions beside most of them."""
    folder = tmp_path_factory.mktemp("words")
    generator = np.random.default_rng(0)
    for name, tint in TINTS.items():
        (folder / "data" / name).mkdir(parents=True)
        for at in range(16):
            noise = generator.normal(0, 20, (16, 16, 3))
            image = Image.fromarray((np.array(tint) + noise).clip(0, 255).astype(np.uint8))
            image.save(folder / "data" / name / f"{at:02}.png")
            if at % 8 != 7:
                text = f"{name}\na {name} tile\n" if at % 2 else f"a {name} tile"
                (folder / "data" / name / f"{at:02}.txt").write_text(text, encoding="utf-8")
    likewise.train(
        folder / "data", method="clipdistill", epochs=30, out=folder / "run", width=8, batch_size=12, words=6,
        learning_rate=3e-3, text_width=32, text_layers=1, targets="none", quiet=True, report=False,
    )  # fmt: skip
    return folder / "run"


def test_classes_are_recognised_by_their_names(run: Path) -> None:
    found = likewise.evaluate(run, probe="zeroshot", labels="folders", quiet=True, report=False, untrained=True)
    (score,) = found.scores  # nothing is said of the untrained encoder, which has no texts
    assert score.value > 0.8
    assert "no label used" in score.protocol
    vectors = class_vectors(RunDirectory.open(run), ["red"], ["{}"])
    torch.testing.assert_close(vectors, texts_of(run, ["red"]))


def test_captions_find_their_images_and_images_their_captions(run: Path) -> None:
    found = likewise.evaluate(run, probe="captions", quiet=True, report=False)
    scores = {(score.variant, score.k): score for score in found}
    assert set(scores) == {(way, k) for way in ("image to text", "text to image") for k in (1, 5, 10)}
    assert scores["image to text", 10].value == 1.0, "there are six captions"
    assert scores["text to image", 1].value > 0.5


def test_new_classes_are_called_by_captions(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = run.parent / "data", run.parent / "found.csv"
    how = {"labels": "folders", "subset": "gcd:0.34", "classes": 3, "captions": "caption", "quiet": True}
    found = likewise.discover(run, data, out=out, **how)
    assert found.classes[0].name == "blue"
    assert {colour for colour in TINTS for one in found.new if colour in one.name} == {"red", "green"}
    assert all(one.name in out.read_text(encoding="utf-8") for one in found.new)
    assert "new classes are called by one of 6 captions" in found.notes[-1]
    with pytest.raises(InputError, match="has no column 'title'"):
        likewise.discover(run, data, **{**how, "captions": "title"})
    with pytest.raises(InputError, match="name its directory"):
        likewise.discover(run / "encoder.safetensors", data, **how)
    words = ["--labels", "folders", "--subset", "gcd:0.34", "--classes", "3", "--captions", "caption"]
    assert main(["discover", str(run), str(data), *words]) == 0
    assert "--captions caption" in capsys.readouterr().out.replace("\n", " ")


def test_a_caption_names_one_class_and_long_ones_are_cut() -> None:
    def one(name: str, cluster: int, *, new: bool) -> Class:
        none = np.zeros(0, np.int64)
        return Class(cluster, name, new, 1, 0, 0, 1.0, None, 0.0, none, none)

    classes = [
        one("car", 0, new=False),
        one("new 1", 2, new=True),
        one("new 2", 1, new=True),
        one("new 3", 3, new=True),
    ]
    names = [ClusterName(text, 0.5, 0.1, 1) for text in ("x", "car", "car", "a long " * 20)] + [
        ClusterName("", 0.0, 0.0, 0)
    ]
    found = called([*classes, one("new 4", 4, new=True)], names)
    assert [each.name for each in found[:3]] == ["car", "car (2)", "car (3)"]
    assert (len(found[3].name), found[3].name[-3:]) == (60, "...")
    assert found[4].name == "new 4"


def test_search_by_text_finds_the_images_of_that_colour(run: Path) -> None:
    index = run.parent / "tiles.index"
    likewise.embed(run, run.parent / "data", to=index, labels="folders")
    found = likewise.search(index, text="a blue tile", k=5)
    assert sum("blue" in hit.id for hit in found.hits) >= 4
    where = likewise.search(index, text="a blue tile", k=5, where="label = 'red'")
    assert all("red" in hit.id for hit in where.hits)
    with pytest.raises(InputError, match="is empty: give words"):
        likewise.search(index, text="  ")
    with pytest.raises(InputError, match="needs one of a query"):
        likewise.search(index, "x.png", text="red")
    with pytest.raises(InputError, match="--run says where it is now"):
        likewise.search(index, text="red", run=run / "gone")


def test_texts_in_other_scripts_and_very_long_ones_have_a_place(run: Path) -> None:
    found = texts_of(run, ["красная плитка", "赤い", "red " * 10_000])
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_features_of_another_length_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match=r"features of shape \(2, 7\)"):
        images_of(run, torch.zeros(2, 7))


def test_a_run_without_texts_is_one_line(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (24, 16, 16, 3), dtype=np.uint8)
    made = likewise.train(images, method="simclr", epochs=1, out=tmp_path / "run", width=8, quiet=True, report=False)
    with pytest.raises(InputError, match="reads no texts: its method learns from images alone"):
        texts_of(made, ["red"])


def test_clusters_are_named_by_what_fits_them_beyond_all() -> None:
    common = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    axes = torch.eye(4)[:3]
    images = torch.nn.functional.normalize(axes.repeat_interleave(5, 0) + 2 * common, dim=1)
    texts = torch.cat([common, torch.nn.functional.normalize(axes + common, dim=1)])
    clusters = np.repeat([0, 1, 3], 5)
    found = cluster_names(images, clusters, ["a photo", "x", "y", "z"], texts)
    assert [named.name for named in found] == ["x", "y", "", "z"]
    assert [named.images for named in found] == [5, 5, 0, 5]
    assert nearest_texts(texts[1:2], images, 50)[1].shape == (1, 15)
    with pytest.raises(InputError, match="names need a vector for each text"):
        cluster_names(images, clusters, [], texts)
