"""The command line as a person and as a script meets it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.cli import HELP, main
from likewise.cli.learning import methods as verb

TINY = ["--encoder", "resnet18", "--width", "8", "--batch-size", "8", "--epochs", "1", "--quiet"]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)


def labelled(path: Path, count: int = 40) -> Path:
    """Images of two brightnesses in two folders."""
    draw = np.random.default_rng(1)
    for number in range(count):
        folder = path / ("dark" if number % 2 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 100, (20, 20, 3)) + (0 if number % 2 else 150)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return path


def failed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error of a call that must end with status 2 and one line."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("likewise: ")
    return shown.err


def test_help_answers_without_torch() -> None:
    program = "import sys; from likewise.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == HELP


def test_train_help_shows_the_methods_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--method", "msf", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--topk" in shown
    assert "--minutes" in shown
    assert "neighbours that an embedding is pulled to" in " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize("verb", ["train", "evaluate", "finetune", "compare", "doctor", "export", "convert", "methods"])
def test_help_says_nothing_that_is_not_for_people(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "None" not in shown
    assert "(default: )" not in shown
    assert "choose for me" not in shown
    assert "--quiet" in shown


def test_quiet_verbs_print_their_result_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos = str(labelled(tmp_path / "photos"))

    def said(*words: str) -> str:
        capfd.readouterr()
        assert main([*words, *(["--quiet"] if "--quiet" not in words else [])]) == 0
        shown = capfd.readouterr()
        assert shown.err == ""
        assert "next" not in shown.out
        return shown.out

    how = ["--labels", "folders", "--probe", "centroid"]
    assert said("train", photos, *TINY, "--out", "runs/a", "--precision", "float32") == "run     runs/a\n"
    scored = said("evaluate", "runs/a", photos, *how)
    assert "score encoder value 95 % interval centroid student" in " ".join(scored.split())
    assert "protocol" not in said("compare", "runs/a")
    assert said("export", "runs/a", "--format", "safetensors", "--out", "e.safetensors") == "e.safetensors\n"
    assert (
        said("finetune", "runs/a", photos, "--labels", "folders", "--epochs", "1", "--out", "runs/b")
        == "run     runs/b\n"
    )
    assert said("methods").startswith("ascl ")
    assert said("doctor", photos, "--width", "8", "--batch-size", "8").startswith("photos: 40 images")


def test_from_folder_to_scores_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = labelled(tmp_path / "photos")
    loud = [word for word in TINY if word != "--quiet"]
    assert main(["train", str(photos), *loud, "--out", "runs/a", "--labels", "folders"]) == 0
    shown = capsys.readouterr().out
    assert f"next    likewise evaluate runs/a {photos} --labels folders\n" in shown
    assert (tmp_path / "runs/a/report.html").exists()

    assert main(["evaluate", "runs/a", str(photos), "--labels", "folders", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scores"]
    for score in told["scores"]:
        assert set(score) >= {"name", "k", "value", "protocol", "split", "n", "which"}
        assert 0.0 <= score["value"] <= 1.0
    assert {score["name"] for score in told["scores"]} == {"knn", "linear"}

    assert main(["export", "runs/a", "--format", "safetensors", "--out", "e.safetensors"]) == 0
    assert main(["export", "runs/a", "--format", "onnx", "--out", "e.onnx"]) == 0
    assert "max" in capsys.readouterr().out
    assert (tmp_path / "e.onnx").stat().st_size > 1000


def test_methods_and_doctor_speak_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert {"isd", "moco_v2", "msf", "byol"} <= listed.keys()
    assert set(listed["isd"]["presets"]) == {"small", "r18", "plus", "proposed"}
    photos = labelled(tmp_path / "photos")
    assert main(["doctor", str(photos), "--json", "--width", "8", "--batch-size", "8", "--labels", "folders"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sum(found["data"]["class_counts"].values()) == 40
    assert found["data"]["count"] == 40
    assert found["images_per_second"] > 0
    assert found["bottleneck"] in {"data", "views", "model"}


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = labelled(tmp_path / "photos")
    for expected in ("photos-isd-resnet18", "photos-isd-resnet18-2"):
        assert main(["train", str(photos), *TINY, "--no-report"]) == 0
        assert expected in capsys.readouterr().out
    assert "already holds a run" in failed(["train", str(photos), *TINY, "--out", "runs/photos-isd-resnet18"], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["traim", "x"], "unknown verb 'traim': did you mean 'train'"),
        (["train", "nowhere"], "nowhere"),
        (["train", "empty"], "empty"),
        (["train", "photos", "--method", "idd"], "unknown method 'idd': did you mean 'isd'"),
        (["train", "photos", "--batch-siz", "8"], "unknown option '--batch-siz': did you mean '--batch-size'"),
        (["train", "photos", "--batch-size", "many"], "--batch-size is given 'many': allowed is a whole number"),
        (["train", "photos", "--minutes", "many"], "--minutes is given 'many': allowed is a number"),
        (
            ["train", "photos", "--crop-scale", "0.1", "x"],
            "--crop-scale is given '0.1 x': allowed is a number, 2 times",
        ),
        (["train", "photos", "--minutes"], "--minutes needs a value"),
        (["train", "photos", "more"], "'more' is not expected there"),
        (["evaluate", "x", "--k", "1", "y"], "--k is given '1 y': allowed is a whole number or several"),
        (["train", "photos", "--method", "moco"], "unknown method 'moco': did you mean 'moco_v2'"),
        (["train", "photos", "--batch-size", "4000"], "batch_size=4000 is larger than the data of 40"),
        (["train", "photos", "--queue-size", "4000"], "queue_size=4000 is longer than the data of 40"),
        (["train", "photos", "--device", "abacus"], "unknown --device 'abacus': allowed are cpu, cuda, mps"),
        (["train"], "likewise train needs DATA"),
        (["export", "x"], "likewise export needs --format {safetensors,onnx,packed} and --out"),
        (["train", "photos", "--topk", "3"], "unknown option '--topk'"),
        (["train", "photos", "--qqq", "3"], "unknown option '--qqq': likewise train --help lists all\n"),
        (["train", "photos", "--epochs", "0"], "likewise: epochs=0.0 must be greater than 0"),
        (["train", "photos", "--queue-size", "-1"], "likewise: queue_size=-1"),
        (["train", "photos", "--temperature-student", "x"], "--temperature-student is given 'x': allowed is a number"),
        (["train", "photos", "--seed", "x"], "--seed is given 'x': allowed is a whole number"),
        (["discover", "photos", "--subset-seed", "-1"], "--subset-seed is given -1: allowed is a whole number from 0"),
        (["train", "photos", "--resume", "--out", "runs/none"], "there is no run runs/none to resume: name one"),
        (["convert", "x"], "efficientnet-lite0,efficientnet-lite1,efficientnet-lite2} and --out"),
        (["duplicates", "photos", "--html", "none/x.html"], "there is no folder none to write x.html into"),
        (["duplicates", "photos", "--html", "empty"], "empty is a folder: name a file"),
        (["duplicates", "broken"], "no image of broken can be read, the first a.png"),
        (["drift", "broken/none.npy", "photos"], "none.npy cannot be read: No data left in file"),
        (["localise", "mbd", "photos", "--out", "broken/a.png"], "a.png is a file: name a folder"),
        (["localise", "mdb", "photos", "--out", "x"], "mdb does not exist: did you mean 'mbd'"),
        (["select", "x", "photos", "--labels", "3", "--out", "x.txt"], "x.txt does not end in .csv"),
        (["predict", "x", "photos", "--out", "x.txt"], "x.txt does not end in .csv"),
        (["finetune", "x", "photos", "--out", "broken/a.png/x"], "a.png is a file: name a folder"),
        (["label", "broken", "--port", "0"], "1 of 1 images of broken cannot be read"),
        (["label", "broken", "--port", "-1"], "port -1 does not exist: allowed are 0 (any free one) to 65535"),
        (["upgrade", "x.index", "--to", "x", "--rollback"], "takes no new encoder and no plan"),
        (["evaluate", "nowhere"], "nowhere"),
        (["export", "nowhere", "--format", "onnx", "--out", "x"], "nowhere"),
        (["compare"], "needs runs"),
        (["compare", "nowhere"], "nowhere"),
        (["compare", "nowhere", "--html", "photos"], "photos exists"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(tmp_path / "photos")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("no image")
    (tmp_path / "broken" / "none.npy").touch()
    before = sorted(tmp_path.rglob("*"))
    assert message in failed(arguments, capsys)
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == [], "nothing is left behind"


def test_a_messy_folder_trains_and_the_broken_are_named(tmp_path: Path) -> None:
    photos = labelled(tmp_path / "photos")
    good = (photos / "dark" / "1.png").read_bytes()
    (photos / "truncated.png").write_bytes(good[: len(good) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("not an image")
    draw = np.random.default_rng(2)
    Image.fromarray(draw.integers(0, 65535, (30, 20), dtype=np.uint16)).save(photos / "sixteen.png")
    Image.fromarray(draw.integers(0, 255, (20, 20, 4), dtype=np.uint8), "CMYK").save(photos / "cmyk.jpg")
    Image.fromarray(draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)).convert("P").save(photos / "palette.gif")
    frames = [Image.fromarray(draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(photos / "animated.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), "red").save(photos / "point.png")
    Image.new("RGB", (20_000, 60), "blue").save(photos / "panorama.jpg")
    assert main(["train", str(photos), *TINY, "--out", "runs/messy"]) == 0
    broken = {entry["name"]: entry["reason"] for entry in json.loads(Path("runs/messy/broken.json").read_text())}
    assert set(broken) == {"truncated.png", "empty.jpg", "text.jpg"}
    assert all(broken.values())
    assert json.loads(Path("runs/messy/run.json").read_text())["data"]["images"] == 46


def test_two_processes_leave_the_run_of_one(tmp_path: Path) -> None:
    photos = labelled(tmp_path / "photos")
    common = [str(photos), *TINY, "--no-report", "--precision", "float32", "--method", "isd"]
    assert main(["train", *common, "--out", "runs/one"]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "-m", "likewise", "train", *common, "--out", "runs/two"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        [json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert [line["step"] for line in one] == [line["step"] for line in two]
    assert done.stdout.count("run     runs/two") == 1
    # In float32 rounding grows from step to step; tests/contract compares whole states in float64.
    for left, right in zip(one[:3], two[:3], strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl"),
            "metrics.jsonl could not be written",
        ),
        (OSError(errno.EFBIG, "File too large"), "a file could not be written: File too large; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/sealed"), "/sealed cannot be used: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: list[str]) -> None:
        raise error

    monkeypatch.setattr(verb, "run", refused)
    assert main(["methods"]) == (2 if isinstance(error, PermissionError) else 1)
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: list[str]) -> None:
        raise OSError("no system said this")

    monkeypatch.setattr(verb, "run", broken)
    with pytest.raises(OSError, match="no system said this"):
        main(["methods"])
