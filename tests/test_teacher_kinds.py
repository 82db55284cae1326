"""A teacher may be a run, a file, a table or something in Python; looked up, its vectors are made once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from likewise.data import Images, cached_side, open_source, prepare
from likewise.data.vectors import Table, places
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.encoders.embedding import embed
from likewise.errors import InputError
from likewise.teachers import Teacher, callables, check_pretrained, digest_of, named, pretrained
from likewise.teachers.own_side import at_side
from likewise.verbs.keeping.export import export
from likewise.verbs.learning.doctor import doctor
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import teacher as trained

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
SPEC = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=24, mean=MEAN, std=STD)
QUICK: dict[str, Any] = {"width": 8, "batch_size": 8, "quiet": True, "report": False, "loggers": (), "image_size": 16}


def find(name: str, **changes: Any) -> Teacher:
    return pretrained(name, image_size=16, mean=(0.5,) * 3, std=(0.25,) * 3, **changes)


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    return np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def images(pixels: NDArray[np.uint8]) -> Images:
    return prepare(open_source(pixels), short_side=None)


def channel_means(image_B3HW: Tensor) -> Tensor:
    """A teacher for tests."""
    return image_B3HW.mean((2, 3))


def test_looked_up_vectors_are_those_of_each_centre_at_the_teachers_own_size(images: Images, tmp_path: Path) -> None:
    encoder = build(SPEC, seed=4)
    save_encoder(encoder, tmp_path / "run" / "encoder.safetensors")
    teacher = find(str(tmp_path / "run"), cached=True)
    assert teacher.missing
    with pytest.raises(InputError, match="not there yet"):
        teacher.look_up(torch.arange(2))
    teacher.fill(images, torch.device("cpu"))
    expected = embed(encoder, SPEC, images)
    index = torch.tensor([7, 3])
    torch.testing.assert_close(teacher.see(torch.zeros(2, 3, 16, 16), index), expected[index])
    again = find(str(tmp_path / "run"), cached=True)
    assert again.is_kept(images)
    other = build(SPEC, seed=5)
    save_encoder(other, tmp_path / "other" / "encoder.safetensors")
    assert not find(str(tmp_path / "other"), cached=True).is_kept(images)


def test_a_teacher_of_a_larger_input_sees_as_many_pixels_as_it_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    source = open_source(np.random.default_rng(0).integers(0, 255, (12, 60, 60, 3), dtype=np.uint8))
    encoder = build(SPEC, seed=4)
    save_encoder(encoder, tmp_path / "run" / "encoder.safetensors")
    small = prepare(source, short_side=cached_side(16))
    larger = at_side(source, small, SPEC.image_size, 16)
    assert larger is not None
    teacher = find(str(tmp_path / "run"), cached=True)
    teacher.fill(small, torch.device("cpu"), larger=larger)
    assert teacher.is_kept(small, larger)
    assert not teacher.is_kept(small)
    found = teacher.look_up(torch.arange(12))
    torch.testing.assert_close(found, embed(encoder, SPEC, prepare(source, short_side=cached_side(24))))
    assert not torch.allclose(found, embed(encoder, SPEC, small), atol=1e-3)
    assert at_side(source, small, 16, 16) is None
    whole = prepare(source, short_side=None)
    assert at_side(source, whole, SPEC.image_size, 60) is None


def test_an_exported_onnx_file_teaches_as_the_encoder_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_encoder(build(SPEC, seed=4), tmp_path / "run" / "encoder.safetensors")
    export(tmp_path / "run", format="onnx", out=tmp_path / "big.onnx")
    image = torch.randn(3, 3, 16, 16)
    one, other = (find(str(path)) for path in (tmp_path / "run", tmp_path / "big.onnx"))
    assert one.features == other.features
    torch.testing.assert_close(other(image), one(image), rtol=1e-3, atol=1e-4)


def test_python_teaches_by_its_name_or_as_it_is() -> None:
    image = torch.rand(2, 3, 16, 16)
    shown = (image - 0.5) / 0.25
    by_name = find(f"{__name__}:channel_means")
    torch.testing.assert_close(by_name(shown), image.mean((2, 3)))
    given = named(lambda x: x.amax((2, 3)))
    torch.testing.assert_close(find(given)(shown), image.amax((2, 3)))
    assert named(channel_means) == f"{__name__}:channel_means"
    assert named(["resnet18", channel_means]) == ("resnet18", f"{__name__}:channel_means")
    with pytest.raises(InputError, match=r"gives \(2, 3, 16, 16\) for 2 images"):
        find(named(lambda x: x))


@pytest.mark.parametrize("form", ["npz", "parquet", "npy"])
def test_a_table_is_looked_up_by_name(form: str, images: Images, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    order = np.random.default_rng(2).permutation(40) if form != "npy" else np.arange(40)
    names, path = [images.names[at] for at in order], tmp_path / f"table.{form}"
    if form == "npz":
        np.savez(path, ids=np.array(names), features=vectors[order])
    elif form == "parquet":
        pq.write_table(pa.table({"name": names, "embedding": vectors[order].tolist()}), path)
    else:
        np.save(path, vectors)
    teacher = find(str(path))
    teacher.fill(images, torch.device("cpu"))
    index = torch.tensor([39, 0, 11])
    torch.testing.assert_close(teacher.see(torch.zeros(3, 3, 16, 16), index), torch.from_numpy(vectors)[index])


def test_names_are_found_without_folder_and_ending_where_that_is_unique() -> None:
    table = Table(("b", "a"), np.zeros((2, 1)))
    assert places(table, ["x/a.png", "x/b.png"], what="t").tolist() == [1, 0]
    with pytest.raises(InputError, match=r"t lacks 1 of 2 images, the first 'x/c.png'; its first name is 'b'"):
        places(table, ["x/a.png", "x/c.png"], what="t")
    with pytest.raises(InputError, match="holds 2 vectors without names, and there are 3 images"):
        places(Table(None, np.zeros((2, 1))), ["a", "b", "c"], what="t")


def test_wrong_teachers_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "torn.npz").write_text("hello")
    np.savez(tmp_path / "pixels.npz", names=np.array(["a"]), images=np.zeros((1, 2, 2, 3)))
    for name, message in {
        "notes.txt": "a .txt file is no encoder",
        "torn.npz": "is no table that can be read",
        "pixels.npz": "has no vectors, but names",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            check_pretrained(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be imported"):
        check_pretrained("likewise.nothing:here")


def test_a_table_that_lacks_images_is_refused_before_anything_is_decoded(
    pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    np.savez(tmp_path / "table.npz", ids=np.array(["picture 0"]), features=np.zeros((1, 4), np.float32))
    with pytest.raises(InputError, match="lacks 39 of 40 images"):
        train(pixels, method="simreg", teacher=str(tmp_path / "table.npz"), out=str(tmp_path / "run"), **QUICK)
    assert not (tmp_path / "cache" / "pictures").exists()


def test_a_student_of_two_teachers_is_trained_and_resumed(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    options = {**QUICK, "method": "simreg", "teacher": trained(), "further_teachers": (channel_means,), "cached": True}
    whole = train(pixels, epochs=2, out=str(tmp_path / "whole"), **options)
    train(pixels, epochs=1, out=str(tmp_path / "more"), **options)
    kept = sorted((tmp_path / "cache" / "derived").glob("*/rows.bin"))
    assert len(kept) == 2  # one a teacher, and the second run made no other
    losses = [line["loss_1"] for line in whole.metrics()]
    assert losses[-1] < losses[0]
    again = train(pixels, epochs=2, out=str(tmp_path / "again"), **options)
    first, second = load_file(whole.weights()), load_file(again.weights())
    assert all(first[key].equal(second[key]) for key in first)


def test_doctor_says_what_a_teacher_costs(pixels: NDArray[np.uint8]) -> None:
    found = doctor(pixels, teacher=trained(), width=8, batch_size=8)
    (taught,) = found.to_json()["teachers"]
    assert taught["images_per_second"] > 0
    assert taught["minutes_per_epoch_cached"] <= taught["minutes_per_epoch"]
    assert taught["parameters"] > taught["student_parameters"] > 0
    assert found.plan.method == "simreg"
    assert "looked up (cached)" in found.to_text()


def test_what_takes_one_side_alone_is_shown_views_of_any_at_that_side(tmp_path: Path) -> None:
    sides: list[int] = []

    def looks(image_B3HW: Tensor) -> Tensor:
        sides.append(image_B3HW.shape[-1])
        return channel_means(image_B3HW)

    find(named(looks))(torch.zeros(2, 3, 8, 8))
    assert sides == [16, 16]  # as it is tried, and for the views
    pytest.importorskip("onnxruntime")
    save_encoder(build(SPEC, seed=4), tmp_path / "run" / "encoder.safetensors")
    export(tmp_path / "run", format="onnx", out=tmp_path / "big.onnx")
    assert find(str(tmp_path / "big.onnx"))(torch.randn(2, 3, 8, 8)).shape == (2, 64)


def test_an_onnx_file_may_have_its_weights_beside_it_and_take_half_precision(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    encoder, image = build(SPEC, seed=4).eval(), torch.randn(2, 3, 24, 24)
    made: dict[str, Any] = {"dynamo": True, "verbose": False}
    torch.onnx.export(encoder, (image,), str(tmp_path / "outside.onnx"), external_data=True, **made)
    before = digest_of(str(tmp_path / "outside.onnx"))
    view = torch.randn(2, 3, 16, 16)
    outside = find(str(tmp_path / "outside.onnx"))(view)
    torch.onnx.export(encoder.half(), (image.half(),), str(tmp_path / "half.onnx"), external_data=False, **made)
    assert outside.dtype == torch.float32
    torch.testing.assert_close(find(str(tmp_path / "half.onnx"))(view), outside, rtol=0.05, atol=0.05)
    weights = tmp_path / "outside.onnx.data"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert digest_of(str(tmp_path / "outside.onnx")) != before
    weights.unlink()
    with pytest.raises(InputError, match=r"has weights in outside\.onnx\.data, and that is not beside it"):
        digest_of(str(tmp_path / "outside.onnx"))


def test_attributes_of_a_function_say_what_it_sees() -> None:
    class Sized(torch.nn.Module):
        image_size, mean, std = (20, 20), torch.full((1, 3, 1, 1), 0.5), [0.25, 0.25, 0.25]

        def forward(self, image_B3HW: Tensor) -> Tensor:
            return channel_means(image_B3HW)

    teacher = find(named(Sized()))
    assert teacher.encoder is not None
    assert (teacher.own_size, teacher.encoder.spec.mean, teacher.encoder.spec.std) == (20, (0.5,) * 3, (0.25,) * 3)
    Sized.image_size = (20, 24)
    with pytest.raises(InputError, match="one side of a square says it"):
        find(named(Sized()))
    Sized.image_size = channel_means  # type: ignore[assignment]
    with pytest.raises(InputError, match="its image_size is a method: numbers say it"):
        find(named(Sized()))


def test_two_modules_that_say_the_same_of_noise_are_two_teachers() -> None:
    class Largest(torch.nn.Module):
        def __init__(self, weight: float) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((3,), weight))

        def forward(self, image_B3HW: Tensor) -> Tensor:
            return (channel_means(image_B3HW) * self.weight > 0).float()

    keys = []
    for each in (Largest(1.0), Largest(2.0)):
        callables._GIVEN["python:largest"] = each
        keys.append(find("python:largest").key)
    assert keys[0] != keys[1]


def test_a_row_that_goes_by_the_name_of_two_images_teaches_neither() -> None:
    table = Table(("train/a.png", "val/a.png", "val/b.png"), np.zeros((3, 1)))
    with pytest.raises(InputError, match=r"t does not say whether 'train/a.png' or 'val/a.png' is 'a.png'"):
        places(table, ["a.png", "b.png"], what="t")
    assert places(table, ["val/a.png", "val/b.png"], what="t").tolist() == [1, 2]
    assert places(table, ["b.png"], what="t").tolist() == [2]


def test_tables_are_told_apart_by_what_they_hold(images: Images, tmp_path: Path) -> None:
    for folder, value in (("one", 1.0), ("two", 2.0)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "t.npz", ids=np.array(images.names), features=np.full((40, 3), value))
        os.utime(tmp_path / folder / "t.npz", (1e9, 1e9))
        teacher = find(str(tmp_path / folder / "t.npz"))
        teacher.fill(images, torch.device("cpu"))
        assert float(teacher.look_up(torch.tensor([0]))[0, 0]) == value


def test_a_table_may_lack_images_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    (tmp_path / "photos" / "03.png").write_bytes(b"no image")
    names = [f"{number:02}.png" for number in range(12) if number != 3]
    np.savez(tmp_path / "table.npz", ids=np.array(names), features=np.eye(11, 4) + 1)
    asked: dict[str, Any] = {"method": "simreg", "teacher": str(tmp_path / "table.npz"), "epochs": 1, **QUICK}
    train(str(tmp_path / "photos"), out=str(tmp_path / "run"), **asked)
    np.savez(tmp_path / "table.npz", ids=np.array(names[1:]), features=np.eye(10, 4) + 1)
    with pytest.raises(InputError, match="lacks 2 of 12 images"):
        train(str(tmp_path / "photos"), out=str(tmp_path / "other"), **asked)
