"""Teachers follow, stay, or look up; none of them ever learns by gradient."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.numpy import save_file
from torch import nn

from likewise import checking
from likewise.cli import teacher as early
from likewise.cli.teacher import check_teacher
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.encoders.build import rebuild, side_step
from likewise.errors import InputError
from likewise.teachers import Frozen, Momentum, Refitted, check_pretrained, pretrained


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def moved(student: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
    return student


def test_momentum_moves_parameters_by_the_formula() -> None:
    student = network()
    teacher = Momentum(student)
    before = [p.clone() for p in teacher.parameters()]
    moved(student)
    teacher.update(student, 0.9)
    for old, new, target in zip(before, teacher.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * target)


@pytest.mark.parametrize("buffers", ["own", "copied"])
def test_running_statistics_are_its_own_or_copied(buffers: str) -> None:
    student = network()
    teacher = Momentum(student, buffers=buffers)  # type: ignore[arg-type]
    student(torch.randn(8, 4))
    teacher.update(student, 0.5)
    same = teacher.network[1].running_mean.equal(student[1].running_mean)  # type: ignore[index, operator, union-attr]
    assert same == (buffers == "copied")


def test_momentum_keeps_its_mode_and_gives_no_gradient() -> None:
    teacher = Momentum(network())
    teacher.eval()
    assert teacher.network.training
    assert not Momentum(network(), mode="eval").train().network.training
    out = teacher(torch.randn(5, 4, requires_grad=True))
    assert not out.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_momentum_out_of_range_is_one_line() -> None:
    student = network()
    with pytest.raises(InputError, match="not between 0"):
        Momentum(student).update(student, 1.5)


def test_frozen_stays_in_eval_mode() -> None:
    teacher = Frozen(network())
    teacher.train()
    x = torch.randn(5, 4)
    assert teacher(x).equal(teacher(x))
    assert not teacher.network.training
    assert not any(p.requires_grad for p in teacher.parameters())


SPEC = EncoderSpec(name="resnet18", width=8, stem="small", image_size=24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))


def test_a_refitted_encoder_sees_the_pixels_that_it_was_trained_on() -> None:
    encoder = build(SPEC).eval()
    pixels = torch.rand(3, 3, 24, 24)
    mean, std = (0.4, 0.5, 0.6), (0.3, 0.2, 0.1)

    def scaled(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    teacher = Refitted(encoder, image_size=24, mean=mean, std=std)
    torch.testing.assert_close(teacher(scaled(mean, std)), encoder(scaled(SPEC.mean, SPEC.std)))
    assert teacher.features == encoder.features
    assert not {"scale", "shift"} & set(teacher.state_dict())


@pytest.mark.parametrize(("made_for", "shown", "seen"), [(12, 12, 24), (12, 6, 12), (48, 48, 24), (24, 24, 24)])
def test_a_refitted_encoder_sees_views_at_its_own_scale(made_for: int, shown: int, seen: int) -> None:
    encoder = build(SPEC)
    sides: list[int] = []
    encoder.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    Refitted(encoder, image_size=made_for, mean=SPEC.mean, std=SPEC.std)(torch.zeros(2, 3, shown, shown))
    assert sides == [seen]


def test_a_saved_encoder_teaches_frozen(tmp_path: Path) -> None:
    encoder = build(SPEC, seed=4).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    image = torch.randn(2, 3, 24, 24)
    for name in (tmp_path, tmp_path / "encoder.safetensors"):
        teacher = pretrained(str(name), image_size=24, mean=SPEC.mean, std=SPEC.std).train()
        torch.testing.assert_close(teacher(image), encoder(image))
        assert teacher.features == encoder.features
        assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("runs/nothing", "teacher='runs/nothing' is no run directory, no file and no timm model"),
        ("resnet81", r"teacher='resnet81' is no run .* timm model \(did you mean 'resnet"),
        ("test_vit4", "timm has no published weights of it"),
    ],
)
def test_a_teacher_that_does_not_exist_is_one_line_that_names_the_flag(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_pretrained(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_does_not_teach(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"teacher='.*': .* holds no trained encoder"):
        pretrained(str(tmp_path), image_size=24, mean=SPEC.mean, std=SPEC.std)
    with pytest.raises(InputError, match="--teacher"):
        pretrained("", image_size=24, mean=SPEC.mean, std=SPEC.std)


def test_what_a_file_tells_of_a_teacher_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    for name, told in {
        "notes.txt": "a .txt file is no encoder",
        "empty": "holds no trained encoder",
        "gone.safetensors": "is no run directory, no file and no timm model",
        "cut.safetensors": "is not a whole safetensors file",
    }.items():
        call = [sys.executable, "-X", "importtime", "-m", "likewise", "train", "photos/", "--method", "simreg"]
        done = subprocess.run([*call, "--teacher", str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "| torch\n" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        assert line.startswith("likewise: teacher=")
        assert told in line
    check_teacher(["--teacher", "package.module:function"])
    check_teacher(["--method", "simclr"])


def test_what_timms_source_says_of_weights_is_what_timm_says() -> None:
    sources = list(early._sources())
    own = {found for text in sources for found in early._REGISTERED.findall(text)}
    names = timm.list_models()
    assert own == set(names)
    told = {name: early.published(name, sources) for name in names[::25]}
    for name, weights in told.items():
        config = timm.get_pretrained_cfg(name)
        where = "none" if not timm.is_model_pretrained(name) else "hub" if config and config.hf_hub_id else "elsewhere"
        assert weights in {None, where}, name
    assert len([weights for weights in told.values() if weights is not None]) > 0.9 * len(told)


def test_models_out_of_reach_and_runs_without_a_head_are_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "answers", lambda _: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    run = tmp_path / "run"
    save_encoder(build(SPEC), run / "encoder.safetensors")
    for words, told in {
        "--teacher resnet18.a1_in1k": "huggingface.co cannot be reached",
        "--teacher resnett18": "no timm model (did you mean 'resnet18'?)",
        "--teacher botnet50ts_256": "timm has no published weights",
        "--old gone": "old='gone' is no run directory, no file and no timm model",
        "--compatible-with gone": "compatible_with='gone' is no run directory, no file and no timm model",
        f"--method disco --teacher {run}": "has no method.safetensors, and its head is needed",
        f"--method seed_kd --teacher-head --teacher {run}/encoder.safetensors": "has no projection head",
    }.items():
        with pytest.raises(InputError) as error:
            check_teacher(words.split())
        assert told in str(error.value)
    check_teacher(["--method", "simreg", "--teacher", str(run)])
    (tmp_path / "models--timm--resnet18.a1_in1k").mkdir()
    check_teacher(["--teacher", "resnet18.a1_in1k"])
    save_file({"head.weight": np.zeros((64, 8), np.float32)}, run / "method.safetensors")
    (run / "run.json").write_text('{"settings": {"embedding": 64}}')
    check_teacher(["--method", "disco", "--teacher", str(run), "--embedding", "64"])
    with pytest.raises(InputError, match=r"embedding=32, and the vectors of teacher=.* have 64 dimensions"):
        check_teacher(["--method", "disco", "--teacher", str(run), "--embedding", "32"])


@pytest.mark.parametrize(("shown", "seen"), [(16, 32), (10, 20), (9, 16), (1, 4)])
def test_a_transformer_sees_views_at_a_side_of_whole_patches(shown: int, seen: int) -> None:
    encoder = build(EncoderSpec(name="vit_micro", stem="small", image_size=32)).eval()
    sides: list[int] = []
    encoder.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    Refitted(encoder, image_size=16, mean=SPEC.mean, std=SPEC.std)(torch.zeros(2, 3, shown, shown))
    assert sides == [seen]


def test_sides_that_models_take_are_known() -> None:
    names = {"beit_base_patch16_224": 224, "deit3_small_patch16_224": 16, "swin_tiny_patch4_window7_224": 4}
    for name, step in {**names, "maxvit_tiny_tf_224": 224, "convnext_tiny": 1, "reactnet_a": 32}.items():
        with torch.device("meta"):
            encoder = rebuild(EncoderSpec(name=name)).eval()
            assert side_step(encoder) == step
            with torch.no_grad():
                encoder(torch.empty(1, 3, 96 // step * step or step, 96 // step * step or step))
