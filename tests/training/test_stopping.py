"""A run that stops itself, is stopped in one of two processes, goes on there, or goes on for longer."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor

from likewise.errors import InputError, TrainingStopped
from likewise.methods.byol import BYOL
from likewise.methods.isd import ISD
from likewise.methods.method import Progress, Terms
from likewise.runs import RunDirectory
from likewise.training import checkpoints
from likewise.training.loop import Loop
from likewise.verbs.learning import job
from likewise.verbs.learning import train as train_module
from likewise.verbs.learning.train import Interrupted, train

PIXELS = np.random.default_rng(0).integers(0, 255, (48, 16, 16, 3), dtype=np.uint8)
STEPS_PER_EPOCH = 6


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def options(out: Path, **more: Any) -> dict[str, Any]:
    common = {"encoder": "resnet18", "width": 8, "batch_size": 8, "epochs": 1, "out": str(out), "quiet": True}
    return {**common, "precision": "float32", "report": False, "loggers": (), **more}


def stored(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


# What is no number ---------------------------------------------------------------------------------------------------


def spoil(kind: str, at: int, patch: pytest.MonkeyPatch) -> None:
    """Make step `at` of ISD bad: its loss, its gradient under a finite loss, or the statistics of a batch norm."""
    whole, done = ISD.step, 0

    def step(self: ISD, views: Any, batch: Any) -> Terms:
        nonlocal done
        terms = whole(self, views, batch)
        done += 1
        if done - 1 < at:
            return terms
        if kind == "loss":
            return terms._replace(loss=terms.loss * math.nan)
        if kind == "gradient":
            terms.loss.register_hook(lambda gradient: gradient * math.inf)
            return terms
        norm = next(part for part in self.modules() if isinstance(part, torch.nn.BatchNorm2d))
        norm.running_var.data.fill_(math.nan)  # type: ignore[union-attr]
        return terms._replace(loss=terms.loss * math.nan) if kind == "both" else terms

    patch.setattr(ISD, "step", step)


@pytest.mark.parametrize(
    ("kind", "message", "kept"),
    [
        ("loss", r"the loss of step 3 is nan, .* images of that batch: picture \d+, ", 3),
        ("gradient", r"the norm of the gradient of step 3 is not finite, .* images of that batch: picture \d+, ", 3),
        ("both", r"the loss of step 3 is nan", 0),  # the state is bad as well: back to the checkpoint before
        ("state", r"training stopped at step 6: .*running_var of the method hold", 0),
    ],
)
def test_a_good_checkpoint_stands_behind_and_the_batch_is_named(
    kind: str, message: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        spoil(kind, 3, patch)
        with pytest.raises(TrainingStopped, match=message) as caught:
            train(PIXELS, **options(out))
    assert caught.value.exit_status == 3
    assert str(caught.value).endswith(f"the checkpoint of step {kept} holds a good state")
    newest = checkpoints.latest(out / "checkpoints")
    assert newest == checkpoints.path_for(out / "checkpoints", kept)
    state = checkpoints.load(newest)["method"]
    assert all(value.isfinite().all() for value in state.values())
    assert all(value.isfinite().all() for value in load_file(out / "encoder.safetensors").values())
    told = stored(out)
    assert (told["status"], told["steps"]) == ("stopped", kept)
    if kind != "state":
        assert told["stopped_at"]["step"] == 3
        assert len(told["stopped_at"]["names"]) == 8
        assert set(told["stopped_at"]["positions"]) <= set(range(48))
    resumed = train(PIXELS, **options(out, resume=True)).read()
    assert (resumed["status"], resumed["steps"]) == ("finished", STEPS_PER_EPOCH)
    assert resumed["reason"] is None


# Going on ------------------------------------------------------------------------------------------------------------


class Moving(Fabric):
    """An engine that takes a method to its device when it is set up, as CUDA does: here, to another type."""

    def setup(self, module: torch.nn.Module, *optimizers: Any, **how: Any) -> Any:
        for weight in module.parameters():
            weight.data = weight.data.double()
        return super().setup(module, *optimizers, **how)


def test_the_state_of_the_optimiser_is_where_the_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rule in ("sgd", "adamw", "lars", "muon"):
        how = options(tmp_path / rule, method="byol", optimiser=rule)
        train(PIXELS, **how)

        def step(self: Loop, loaded: Any) -> None:
            optimizer = self.update.optimizer.optimizer
            assert optimizer.state
            for weight, state in optimizer.state.items():
                buffers = [value for name, value in state.items() if isinstance(value, Tensor) and name != "step"]
                assert buffers
                assert all(value.dtype == weight.dtype == torch.float64 for value in buffers)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(job, "fabric", lambda *_: Moving(accelerator="cpu", devices=1))
            patch.setattr(Loop, "_step", step)
            with pytest.raises(KeyboardInterrupt):
                train(PIXELS, **{**how, "epochs": 2}, resume=True)


def test_a_finished_run_can_be_extended_and_says_what_that_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out, seen = tmp_path / "run", []
    whole = BYOL.before_step

    def before_step(self: BYOL, progress: Progress) -> None:
        seen.append(progress)
        whole(self, progress)

    monkeypatch.setattr(BYOL, "before_step", before_step)
    train(PIXELS, **options(out, method="byol", epochs=2))
    seen.clear()
    score = {"name": "knn", "value": 0.5, "which": "student"}
    RunDirectory.open(out).write(scores=[score], changes=[score], verdicts={"data": "better"})
    train(PIXELS, **options(out, method="byol", epochs=2, resume=True))
    assert stored(out)["scores"] == [score], "no step was done"
    train(PIXELS, **options(out, method="byol", epochs=3, resume=True, quiet=False))
    assert [progress.step for progress in seen] == list(range(12, 18))
    assert seen[0].fraction == pytest.approx(2 / 3)
    said = " ".join(capfd.readouterr().err.split())
    assert "epochs = 3 instead of 2: schedules go on at 66.7% of the new budget, where they were at 100.0%" in said
    told = stored(out)
    assert (told["status"], told["steps"], told["budget"]) == ("finished", 18, {"epochs": 3, "minutes": None})
    assert (told["scores"], told["changes"], told["verdicts"]) == ([], [], {}), "they were of other weights"
    assert told["scores_before"] == [{"step": 12, "scores": [score]}]
    (longer,) = told["extended"]
    assert (longer["step"], longer["budget_before"], longer["learning_rate_before"]) == (
        12,
        {"epochs": 2, "minutes": None},
        0,
    )
    assert longer["learning_rate"] == pytest.approx(0.06 * 8 / 256 / 4)  # two thirds of a cosine
    with pytest.raises(InputError, match=r"started with epochs=3, .* resumed with 2: allowed is epochs=3 or more"):
        train(PIXELS, **options(out, method="byol", epochs=2, resume=True))
    with pytest.raises(InputError, match=r"budget of the run is epochs=3, .* minutes=1: allowed is a larger epochs"):
        train(PIXELS, **options(out, method="byol", epochs=None, minutes=1.0, resume=True))


def test_a_run_can_be_resumed_as_soon_as_its_teacher_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, filled = tmp_path / "run", []
    monkeypatch.setattr(train_module, "fill_teachers", lambda *_: filled.append(stored(out)["status"]))
    train(PIXELS, **options(out, method="byol", epochs=0.2))
    assert filled == ["running"], "vectors of a teacher may take hours, in which a run may be killed"


# Two processes -------------------------------------------------------------------------------------------------------


def one_of_two(rank: int, port: int, folder: str) -> None:
    """What one of two processes does, as a launcher would start it; it writes down what it saw."""
    for name, value in {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
    }.items():
        os.environ[name] = str(value)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"LIKEWISE_CACHE": f"{folder}/cache"}
    torch.set_num_threads(1)
    out, whole, seen = Path(folder) / "run", Loop._step, []
    told: dict[str, Any] = {}

    def step(self: Loop, loaded: Any) -> None:
        seen.append([self.clock.step, self.clock.fraction()])
        whole(self, loaded)
        if len(seen) == 5 and rank == interrupted:
            os.kill(os.getpid(), signal.SIGTERM)

    Loop._step = step  # type: ignore[method-assign]
    how = {**options(out, method="byol", epochs=400, online_probe=False), "checkpoint_minutes": 0.0}
    interrupted = 1
    with pytest.raises(Interrupted) as first:
        train(PIXELS, **how)
    told["first"] = [str(first.value).split(":")[0], first.value.exit_status, seen[-1][0] + 1]
    interrupted = -1
    seen.clear()
    train(PIXELS, **{**how, "epochs": None, "minutes": 0.03, "out": f"{folder}/minutes"})
    told["minutes"] = list(seen)
    interrupted = 0
    seen.clear()
    if rank == 1:  # what this process believes to be the newest checkpoint is of no account
        checkpoints.latest = lambda directory: checkpoints.all_checkpoints(directory)[0]  # type: ignore[assignment]
    with pytest.raises(Interrupted) as again:
        train(PIXELS, **how, resume=True)
    told["again"] = [str(again.value).split(":")[0], seen[0][0], seen[-1][0]]
    Path(folder, f"told-{rank}.json").write_text(json.dumps(told))


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_two_processes_stop_and_go_on_together(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["likewise.verbs.learning.train", __name__])
    both = [processes.Process(target=one_of_two, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(100)
    assert [each.exitcode for each in both] == [0, 0]
    first, second = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2))
    assert first == second
    said, status, step = first["first"]
    assert (said, status) == ("interrupted by SIGTERM", 128 + signal.SIGTERM)
    assert 5 <= step < 2400
    assert first["minutes"][-1][1] > 0.5, "the clock, and all that follows it, is the same in both"
    assert first["again"][:2] == ["interrupted by SIGTERM", step]
    told = stored(tmp_path / "run")
    assert told["status"] == "interrupted"
    assert told["steps"] == first["again"][2] + 1
