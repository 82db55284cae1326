"""From run.json back to a plan: nothing changes its kind on the way, and a teacher may lie elsewhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from likewise import methods
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.methods.whole import tuples
from likewise.runs import RunDirectory, plain
from likewise.training import origins
from likewise.training.planning.asked import Asked
from likewise.training.planning.resolve import Choice, DataFacts, Machine, Plan, resolve
from likewise.training.planning.resume import check_same, plan_of, record

DATA = DataFacts(images=400, side=32, classes=0, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def plan_for(method: str, **given: Any) -> Plan:
    size = Choice("image_size", 32, "")
    return resolve(Asked(method=method), given, methods.find(method), DATA, Machine("cpu", bf16=False), size)


def run_of(plan: Plan, path: Path) -> RunDirectory:
    path.mkdir()
    run = RunDirectory(path)
    run.write(**record(plan))
    return run


def teacher_at(path: Path, seed: int = 0) -> str:
    spec = EncoderSpec(name="resnet18", width=8, stem="small", image_size=16)
    save_encoder(build(spec, seed), path / "encoder.safetensors")
    return str(path)


def test_tuples_inside_tuples_come_back_as_tuples() -> None:
    values = {"scales": ((0.2, 1.0), (0.05, (0.1, 0.2))), "epochs": (60, 80), "name": "x", "none": None}
    assert tuples(json.loads(json.dumps(plain(values)))) == values


@pytest.mark.parametrize("method", ["isd", "dino", "swav"])
def test_a_plan_comes_back_as_it_was(method: str, tmp_path: Path) -> None:
    plan = plan_for(method)
    assert plan_of(run_of(plan, tmp_path / "run")) == dataclasses.replace(
        plan, choices=plan_of(RunDirectory(tmp_path / "run")).choices
    )


@pytest.mark.parametrize("whose", ["cifar10", "imagenet", "data"])
def test_the_same_normalisation_may_be_asked_for_again(whose: str) -> None:
    size = Choice("image_size", 32, "")
    asked = Asked(method="isd", normalisation=whose)  # type: ignore[arg-type]
    plan = resolve(asked, {}, methods.find("isd"), DATA, Machine("cpu", bf16=False), size)
    check_same(plan, {"normalisation": whose})
    with pytest.raises(InputError, match=f"normalisation={whose}, so it cannot be resumed with cifar100"):
        check_same(plan, {"normalisation": "cifar100"})


def test_a_teacher_that_moved_is_taken_from_its_new_place(tmp_path: Path) -> None:
    before = teacher_at(tmp_path / "before")
    run = run_of(plan_for("seed_kd", teacher=before), tmp_path / "run")
    now = Path(before).rename(tmp_path / "now")
    for place in (now, now / "encoder.safetensors"):
        plan = plan_of(run, str(place))
        assert plan.settings.teacher == str(place)
        check_same(plan, {"teacher": str(place)})
    with pytest.raises(InputError, match=r"'.*before' of .*run is not there: name its new place with --teacher"):
        plan_of(run)


def test_another_teacher_is_refused(tmp_path: Path) -> None:
    run = run_of(plan_for("seed_kd", teacher=teacher_at(tmp_path / "one")), tmp_path / "run")
    other = teacher_at(tmp_path / "two", seed=1)
    with pytest.raises(InputError, match=r"two' does not hold the weights of the teacher '.*one'"):
        plan_of(run, other)
    teacher_at(tmp_path / "one", seed=2)  # trained again in the same place
    with pytest.raises(InputError, match="does not hold the weights"):
        plan_of(run)


def test_runs_without_a_digest_go_on_as_before(tmp_path: Path) -> None:
    teacher = teacher_at(tmp_path / "one")
    run = run_of(plan_for("seed_kd", teacher=teacher), tmp_path / "run")
    run.write(teacher_digest=None)
    teacher_at(tmp_path / "one", seed=2)
    assert plan_of(run).settings.teacher == teacher


def test_other_origins_than_the_teacher_are_held_to_be_the_same(tmp_path: Path) -> None:
    first, second = teacher_at(tmp_path / "one"), teacher_at(tmp_path / "two")
    run = run_of(plan_for("simreg", teacher=first, further_teachers=(second,)), tmp_path / "run")
    assert plan_of(run).settings.further_teachers == (second,)
    teacher_at(tmp_path / "two", seed=2)
    with pytest.raises(InputError, match=r"further_teachers='.*two' is not what .*run began with"):
        plan_of(run)


@dataclasses.dataclass(frozen=True)
class Named:
    """Settings that name files."""

    masks: str = ""
    neighbours: str = ""


def test_files_and_folders_are_known_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "1.png").write_bytes(b"12")
    (tmp_path / "near.npy").write_bytes(b"34")
    named = Named(masks=f"given:{tmp_path / 'masks'}", neighbours=str(tmp_path / "near.npy"))
    known = origins.digests_of(named)
    origins.check(named, known, tmp_path)
    (tmp_path / "masks" / "1.png").write_bytes(b"123")
    with pytest.raises(InputError, match=r"masks='given:.*' is not what"):
        origins.check(named, known, tmp_path)
    (tmp_path / "near.npy").unlink()
    with pytest.raises(InputError, match=r"neighbours='.*near.npy' of .* is not there any more"):
        origins.check(Named(neighbours=named.neighbours), known, tmp_path)
    assert origins.digests_of(Named(masks="mbd")) == {"masks": [None]}
