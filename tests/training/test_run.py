"""The run directory: never overwrites, never half written, and can be read after any crash."""

from __future__ import annotations

import errno
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import likewise
from likewise.encoders import EncoderSpec, build, load_encoder
from likewise.errors import InputError
from likewise.runs import RunDirectory, command_line, default_name, plain, versions


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory.create(tmp_path / "mine", "unused")
    made.begin("likewise train photos/")
    yield made
    made.close()


# Names and places ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("cifar10", "isd", "resnet18"), "cifar10-isd-resnet18"),
        (("My Photos (2024)/", "isd", "vit_tiny_patch16_224"), "my-photos-2024-isd-vit_tiny_patch16_224"),
        (("../..", "isd", "resnet50.a1_in1k"), "isd-resnet50.a1_in1k"),
        (("größe", "byol", "resnet18"), "gr-e-byol-resnet18"),
        (("x" * 500, "isd", "r"), "x" * 60 + "-isd-r"),
        (("", "", ""), "run"),
    ],
)
def test_default_names_are_safe(parts: tuple[str, str, str], name: str) -> None:
    assert default_name(*parts) == name


def test_default_names_are_numbered_when_taken(tmp_path: Path) -> None:
    made = [RunDirectory.create(None, "photos-isd", tmp_path / "runs").path.name for _ in range(3)]
    assert made == ["photos-isd", "photos-isd-2", "photos-isd-3"]


def test_a_file_of_the_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photos-isd").write_text("mine")
    assert RunDirectory.create(None, "photos-isd", tmp_path).name == "photos-isd-2"


def test_a_named_run_is_never_overwritten(run: RunDirectory) -> None:
    before = run.settings_file.read_bytes()
    with pytest.raises(InputError, match=r"already holds a run: continue it with --resume"):
        RunDirectory.create(run.path, "unused")
    assert run.settings_file.read_bytes() == before


def test_a_named_directory_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InputError, match="not empty"):
        RunDirectory.create(tmp_path / "photos", "unused")
    (tmp_path / "note.txt").touch()
    with pytest.raises(InputError, match="is a file"):
        RunDirectory.create(tmp_path / "note.txt", "unused")
    with pytest.raises(InputError, match="cannot make the run directory"):
        RunDirectory.create(tmp_path / "note.txt" / "below", "unused")
    with pytest.raises(InputError, match="cannot make the run directory"):
        RunDirectory.create(None, "photos-isd", tmp_path / "note.txt")


def test_an_empty_named_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    assert RunDirectory.create(tmp_path / "fresh", "unused").path == tmp_path / "fresh"


def test_open_finds_a_run_or_names_the_nearest(run: RunDirectory) -> None:
    assert RunDirectory.open(run.path).read()["status"] == "running"
    with pytest.raises(InputError, match=r"does not exist; did you mean .*mine\?"):
        RunDirectory.open(run.path.with_name("nine"))
    with pytest.raises(InputError, match=r"has no run\.json"):
        RunDirectory.open(run.path.parent)


def test_newest_of_a_default_name(tmp_path: Path) -> None:
    assert RunDirectory.newest("photos-isd", tmp_path) is None
    for _ in range(11):
        RunDirectory.create(None, "photos-isd", tmp_path).write(status="finished")
    RunDirectory.create(None, "photos-isd-wide", tmp_path).write(status="finished")
    newest = RunDirectory.newest("photos-isd", tmp_path)
    assert newest is not None
    assert newest.name == "photos-isd-11"


def test_names_with_pattern_characters(tmp_path: Path) -> None:
    RunDirectory(tmp_path / "a[1]").path.mkdir()
    RunDirectory(tmp_path / "a[1]").write(status="finished")
    newest = RunDirectory.newest("a[1]", tmp_path)
    assert newest is not None
    assert newest.name == "a[1]"


# run.json ------------------------------------------------------------------------------------------------------------


def test_write_merges_fields(run: RunDirectory) -> None:
    run.write(seed=3, budget={"epochs": None, "minutes": 10.0})
    run.write(seed=4)
    found = run.read()
    assert (found["seed"], found["budget"], found["status"]) == (4, {"epochs": None, "minutes": 10.0}, "running")


@dataclass
class Point:
    x: Any
    y: Any


def test_everything_becomes_plain() -> None:
    value = {
        "path": Path("runs/x"),
        "tensor": torch.tensor([1.5, math.inf]),
        "scalar": torch.tensor(3),
        "numpy": np.float32(0.5),
        "array": np.arange(3),
        "point": Point(Point(1, (2, 3)), {4}),
        "nan": math.nan,
        "true": True,
        5: None,
    }
    found = plain(value)
    assert found == {
        "path": "runs/x",
        "tensor": [1.5, None],
        "scalar": 3,
        "numpy": 0.5,
        "array": [0, 1, 2],
        "point": {"x": {"x": 1, "y": [2, 3]}, "y": [4]},
        "nan": None,
        "true": True,
        "5": None,
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_run_from_start_to_end(run: RunDirectory) -> None:
    begun = run.read()
    assert begun["command"] == "likewise train photos/"
    assert begun["likewise"] == likewise.__version__
    release = torch.__version__.split("+")[0]  # what an installation is called may leave out how it was built
    assert begun["versions"]["torch"].split("+")[0] == release
    assert begun["finished"] is None
    assert begun["started"].endswith("+00:00")
    run.end("finished", minutes=1.23456, scores=[{"name": "knn", "value": 0.5}])
    ended = run.read()
    assert (ended["status"], ended["minutes"]) == ("finished", 1.235)
    assert ended["finished"] >= ended["started"]
    assert ended["scores"][0]["name"] == "knn"


def test_a_resumed_run_keeps_its_first_start_and_command(run: RunDirectory) -> None:
    run.write(started="2020-01-01T00:00:00+00:00")
    run.end("interrupted", minutes=1)
    run.begin("likewise train photos/ --resume")
    found = run.read()
    assert (found["status"], found["started"]) == ("running", "2020-01-01T00:00:00+00:00")
    assert found["command"] == "likewise train photos/"
    assert [again["command"] for again in found["resumed"]] == ["likewise train photos/ --resume"]


def test_status_follows_its_rules(run: RunDirectory) -> None:
    with pytest.raises(InputError, match="did you mean 'finished'"):
        run.end("finish", minutes=1)  # type: ignore[arg-type]
    run.end("stopped", minutes=1)
    with pytest.raises(InputError, match="is stopped: only a running run"):
        run.end("finished", minutes=1)
    with pytest.raises(InputError, match="is not begun"):
        RunDirectory(run.path.parent).end("finished", minutes=1)


def test_damaged_settings_are_named(run: RunDirectory) -> None:
    for content in ('{"status": "runn', "[1, 2]"):
        run.settings_file.write_text(content)
        with pytest.raises(InputError, match=r"run\.json is damaged"):
            run.read()


def test_other_files_are_json_too(run: RunDirectory) -> None:
    run.write_json("broken.json", [Point("a.jpg", "truncated")])
    assert json.loads((run.path / "broken.json").read_text()) == [{"x": "a.jpg", "y": "truncated"}]


# metrics.jsonl -------------------------------------------------------------------------------------------------------


def test_metrics_are_on_disk_at_once(run: RunDirectory) -> None:
    run.append_metrics({"step": 10, "loss": torch.tensor(0.5), "bad": math.nan, "health": "healthy"})
    assert run.metrics_file.read_text() == '{"step": 10, "loss": 0.5, "bad": null, "health": "healthy"}\n'


def test_resume_cuts_what_comes_after_the_checkpoint(run: RunDirectory) -> None:
    for step in (10, 20, 30, 40):
        run.append_metrics({"step": step, "first": True})
    run.cut_metrics(20)
    run.append_metrics({"step": 30, "first": False})
    assert [(line["step"], line["first"]) for line in run.metrics()] == [(10, True), (20, True), (30, False)]


def test_a_line_cut_short_by_a_crash_is_left_out_and_cut_away(run: RunDirectory) -> None:
    run.append_metrics({"step": 10})
    with run.metrics_file.open("a") as file:
        file.write('{"step": 20, "lo')
    again = RunDirectory.open(run.path)
    assert again.metrics() == [{"step": 10}]
    again.cut_metrics(10)
    again.append_metrics({"step": 20})
    again.close()
    assert again.metrics() == [{"step": 10}, {"step": 20}]
    assert again.metrics_file.read_text().count("\n") == 2


def test_lines_wait_for_room_on_a_full_disk(run: RunDirectory) -> None:
    run.append_metrics({"step": 10})

    whole = run.metrics_file.stat().st_size

    class Full(io.FileIO):
        """Takes three bytes of a line and is full then."""

        def write(self, data: Any) -> int:
            if self.tell() > whole:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:3])

    run.close()
    run._metrics = Full(run.metrics_file, "ab")
    for step in (20, 30):
        with pytest.warns(UserWarning, match=r"metrics.jsonl waits for room on the disk: No space left"):
            run.append_metrics({"step": step})
    run.close()
    run.append_metrics({"step": 40})
    assert [line["step"] for line in run.metrics()] == [10, 20, 30, 40]


def test_a_run_without_metrics(run: RunDirectory) -> None:
    run.cut_metrics(0)
    assert run.metrics() == []


def test_a_killed_run_keeps_its_lines(run: RunDirectory) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom likewise.runs import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1]))\n"
        "for step in range(5): run.append_metrics({'step': step})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    source = str(Path(likewise.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], env={"PYTHONPATH": source}, timeout=60, check=False
    )
    assert done.returncode == -9
    assert [line["step"] for line in run.metrics()] == [0, 1, 2, 3, 4]


# Weights, versions, command ------------------------------------------------------------------------------------------


def test_encoders_by_role(run: RunDirectory) -> None:
    spec = EncoderSpec(name="resnet18", width=8, stem="small", image_size=32)
    student, teacher = build(spec, seed=0), build(spec, seed=1)
    run.save_encoders({"student": student, "teacher": teacher}, {"deploy": "teacher", "method": "isd"})
    described = json.loads((run.path / "model.json").read_text())
    assert described["weights"] == {"student": "encoder.safetensors", "teacher": "teacher.safetensors"}
    assert (described["which"], described["deploy"], described["name"]) == ("student", "teacher", "resnet18")
    for which, encoder in (("student", student), ("teacher", teacher)):
        loaded = load_encoder(run.weights(which)).backbone.state_dict()
        expected = encoder.backbone.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)


def test_a_method_without_a_student_is_refused(run: RunDirectory) -> None:
    with pytest.raises(InputError, match="has to name its student encoder"):
        run.save_encoders({"teacher": torch.nn.Identity()})


def test_versions_name_what_numbers_depend_on() -> None:
    found = versions()
    assert {"likewise", "python", "torch", "numpy", "timm"} <= found.keys()
    assert all(found.values())


def test_command_line_can_be_pasted() -> None:
    assert command_line(["/usr/bin/likewise", "train", "my photos/"]) == "likewise train 'my photos/'"
    assert command_line(["/x/likewise/__main__.py", "train", "a"]) == "likewise train a"
    assert command_line(["my_script.py"]) == "my_script.py"


def test_importing_needs_no_torch() -> None:
    code = "import sys, likewise.runs; sys.exit('torch' in sys.modules)"
    source = str(Path(likewise.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, timeout=60, check=True)
