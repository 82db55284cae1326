"""The look at the whole data set between epochs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import likewise.methods
from likewise.encoders import EncoderSpec
from likewise.encoders.embedding import BATCH
from likewise.errors import TrainingStopped
from likewise.methods.byol import BYOL
from likewise.methods.method import Method, Progress
from likewise.methods.ncc import NCC
from likewise.runs import RunDirectory
from likewise.training import checkpoints
from likewise.training.loop import Loop
from likewise.training.refresh import embed_all, refresh
from likewise.verbs.learning.train import Interrupted, train
from likewise.views import centre
from tests.contract import gauntlet
from tests.processes import in_two

MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
WANTING = [name for name in likewise.methods.names() if likewise.methods.find(name).needs_refresh]
EPOCHS, STEPS_PER_EPOCH = 3, 6


class Squares:
    """Images of 4 x 4 pixels, image n all of the value n mod 251; remembers how many are asked for at once."""

    def __init__(self, count: int) -> None:
        self.count, self.most = count, 0

    def __len__(self) -> int:
        return self.count

    def gather(self, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        self.most = max(self.most, len(index))
        values = torch.from_numpy(index % 251).to(torch.uint8)
        return values.view(-1, 1, 1, 1).expand(-1, 4, 4, 3), torch.full((len(index), 2), 4)


def network() -> nn.Module:
    """Gives 255 times the mean of each image, and half of that in training mode."""
    made = nn.Sequential(nn.Flatten(), nn.Linear(48, 1, bias=False), nn.Dropout(0.5)).train()
    nn.init.constant_(made[1].weight, 255 / 48)  # type: ignore[arg-type]
    made[0].eval()
    return made


def embedded(count: int) -> Tensor:
    return embed_all(network(), Squares(count), centre(4, mean=MEAN, std=STD), device=torch.device("cpu"), autocast=_no)


def _no() -> Any:
    return torch.autocast("cpu", enabled=False)


def test_every_image_has_its_row_and_the_network_its_modes() -> None:
    made, count = network(), 2 * BATCH + 3
    images = Squares(count)
    found = embed_all(made, images, centre(4, mean=MEAN, std=STD), device=torch.device("cpu"), autocast=_no)
    torch.testing.assert_close(found, torch.arange(count).remainder(251).float().unsqueeze(1), rtol=0, atol=1e-3)
    assert not found.requires_grad
    assert images.most == BATCH
    assert [part.training for part in made] == [False, True, True]


def some_embedded(rank: int) -> list[Tensor]:
    return [embedded(count) for count in (1, 7, 64)]


def test_processes_share_the_work_and_hold_the_same_table(tmp_path: Path) -> None:
    for of_rank in in_two(some_embedded, tmp_path):
        for count, found in zip((1, 7, 64), of_rank, strict=True):
            torch.testing.assert_close(found, embedded(count))


def test_embeddings_that_are_no_numbers_stop_the_run() -> None:
    class Bad(Method):
        def refresh_with(self) -> nn.Module:
            made = network()
            made.register_forward_hook(lambda _, __, out: torch.where(out == 5, torch.nan, out.round()))
            return made

        def refresh(self, features_ND: Tensor, progress: Progress) -> None:
            raise AssertionError("must not be reached")

    spec = EncoderSpec(name="resnet18", image_size=4, mean=MEAN, std=STD)
    with pytest.raises(TrainingStopped, match=r"step 12: 1 of 9 embeddings .* not finite, the first that of image 5"):
        refresh(Bad(), Squares(9), spec, Progress(12, 0.5, 2))


# In a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def data() -> NDArray[np.uint8]:
    """50 images of 16 px in two kinds: six batches of eight, and two images left over."""
    kinds = np.arange(50) % 2
    return (np.random.default_rng(0).integers(0, 128, (50, 16, 16, 3)) + 100 * kinds[:, None, None, None]).astype(
        np.uint8
    )


def options(out: Path, **more: Any) -> dict[str, Any]:
    common = {"encoder": "resnet10t", "width": 8, "batch_size": 8, "epochs": EPOCHS, "out": str(out), "quiet": True}
    return {**common, "report": False, "loggers": (), "checkpoint_minutes": 60.0, **more}


def test_it_comes_before_the_first_step_of_the_epochs_that_want_it(
    data: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, tuple[int, ...]]] = []
    monkeypatch.setattr(BYOL, "refresh_due", lambda self, epoch: epoch != 1)
    monkeypatch.setattr(BYOL, "refresh_with", lambda self: self.teacher.network)
    monkeypatch.setattr(
        BYOL, "refresh", lambda self, x, progress: calls.append((progress.step, progress.epoch, tuple(x.shape)))
    )
    run = train(data, method="byol", **options(tmp_path / "run"))
    assert calls == [(0, 0, (50, 64)), (2 * STEPS_PER_EPOCH, 2, (50, 64))]
    shares = [line.get("share_refresh", 0.0) for line in run.metrics()]
    assert 0.0 < sum(shares) < len(shares)


def test_other_runs_say_nothing_of_it(data: NDArray[np.uint8], tmp_path: Path) -> None:
    run = train(data, method="byol", **options(tmp_path / "run", epochs=1))
    assert all("share_refresh" not in line and "share_model" in line for line in run.metrics())


def newest(run: RunDirectory) -> Path:
    found = checkpoints.latest(run.checkpoints)
    assert found is not None
    return found


BETWEEN, WITHIN = 2 * STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH + 3
"""Steps done when a run is interrupted: between two epochs, and in the middle of one."""
INTERRUPTED = [
    *((name, BETWEEN, {}) for name in WANTING),
    *(("ncc", steps, {"balanced": True, "refresh_every": 1}) for steps in (BETWEEN, WITHIN)),
]


@pytest.mark.parametrize(("method", "steps", "settings"), INTERRUPTED)
def test_a_resumed_run_refreshes_and_draws_as_the_uninterrupted_one(
    method: str,
    steps: int,
    settings: dict[str, Any],
    data: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labelled = {"images": data, "labels": np.arange(len(data)) % 3}  # some methods need labels
    whole, more = Loop._step, {**gauntlet.needs(likewise.methods.find(method)), **settings}

    def step(self: Loop, loaded: Any) -> None:
        whole(self, loaded)
        if self.clock.step == steps - 1:  # the step that is being done is the last before
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", step)
        with pytest.raises(Interrupted):
            train(labelled, method=method, **options(tmp_path / "run"), **more)
    resumed = train(labelled, method=method, **options(tmp_path / "run", resume=True), **more)
    straight = train(labelled, method=method, **options(tmp_path / "straight"), **more)
    states = [checkpoints.load(newest(run))["method"] for run in (straight, resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(value.equal(states[1][key]) for key, value in states[0].items())


def test_a_method_says_how_often_each_image_is_drawn(
    data: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clusters of which one holds five images: they are seen as often as the other forty-five together."""
    seen: list[Tensor] = []
    whole = Loop._step

    def step(self: Loop, loaded: Any) -> None:
        seen.append(loaded.ids)
        whole(self, loaded)

    def refreshed(self: NCC, features_ND: Tensor, progress: Progress) -> None:
        self.clusters.labels.copy_((torch.arange(50) < 5).long())

    monkeypatch.setattr(Loop, "_step", step)
    monkeypatch.setattr(NCC, "refresh", refreshed)
    train(data, method="ncc", **options(tmp_path / "run", epochs=10), clusters=2, balanced=True)
    few = float((torch.cat(seen) < 5).double().mean())
    assert 0.4 < few < 0.6
