"""What doctor says is what train would do: the same update, the same refusals, the same labels and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import likewise.methods
from likewise.errors import InputError
from likewise.methods.byol import BYOL
from likewise.training.update import Update
from likewise.verbs.learning.doctor import SAMPLE, doctor
from tests.contract import gauntlet

DRAW = np.random.default_rng(0)
WANTING = [name for name in likewise.methods.names() if likewise.methods.find(name).needs_refresh]
SMALL: dict[str, Any] = {"width": 8, "batch_size": 8, "precision": "float32"}


def pixels(count: int, side: int = 16) -> np.ndarray[Any, Any]:
    return DRAW.integers(0, 255, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", WANTING)
def test_methods_that_look_at_all_images_are_timed(name: str) -> None:
    method = likewise.methods.find(name)
    cached = {"cached": True} if name == "compress" else {}
    labelled = {"images": pixels(40), "labels": np.arange(40) % 3}
    found = doctor(labelled, method=name, **SMALL, **cached, **gauntlet.needs(method))
    assert found.images_per_second > 0
    assert set(found.seconds) == {"data", "views", "model"}


def test_what_a_sample_is_too_small_for_is_tried_with_all_images() -> None:
    count = SAMPLE + 50
    assert doctor(pixels(count, 8), method="interclr", clusters=SAMPLE + 10, **SMALL).images_per_second > 0
    with pytest.raises(InputError, match=rf"clusters={count + 1} of {count}"):
        doctor(pixels(count, 8), method="interclr", clusters=count + 1, **SMALL)


def test_doctor_repeats_the_update_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for name in ("before_step", "after_backward", "after_step"):
        monkeypatch.setattr(BYOL, name, lambda self, progress, name=name: called.append(name))
    whole = Update.step

    def step(self: Update, *given: Any) -> None:
        whole(self, *given)
        called.append("step")

    monkeypatch.setattr(Update, "step", step)
    doctor(pixels(40), method="byol", **SMALL)
    assert len(called) >= 4 * 4
    assert called[:4] == ["before_step", "after_backward", "after_step", "step"]


def test_doctor_refuses_what_train_refuses() -> None:
    with pytest.raises(InputError, match=r"batch norm 1 image at a time|is too small"):
        doctor(pixels(40), accumulate=8, **SMALL)


def test_all_broken_files_are_named_and_labels_and_draws_taken(tmp_path: Path) -> None:
    for number, image in enumerate(pixels(100, 24)):
        place = tmp_path / "photos" / ("ant" if number < 70 else "bee") / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    broken = [tmp_path / "photos" / "ant" / f"{number:03}.png" for number in (1, 2, 4, 5, 7, 8)]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-40])
    found = doctor(str(tmp_path / "photos"), labels="folders", **SMALL)
    assert sorted(entry.name for entry in found.data.broken) == [f"ant/{path.name}" for path in broken]
    text = found.to_text()
    assert "6 of 100 whose headers were looked at" in text
    assert all(path.name in text for path in broken)
    assert found.data.class_counts == {"ant": 70, "bee": 30}
    drawn = doctor(str(tmp_path / "photos"), labels="folders", subset="perclass:20", **SMALL)
    assert drawn.data.class_counts == {"ant": 20, "bee": 20}


def test_what_takes_long_is_timed_by_a_part_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    whole = Update.step

    def step(self: Update, loaded: Any, *given: Any) -> None:
        shown.append(len(loaded.ids))
        whole(self, loaded, *given)

    monkeypatch.setattr(Update, "step", step)
    monkeypatch.setattr("likewise.verbs.learning.doctor.STEP_SECONDS", 1e-9)
    slow = doctor(pixels(200), method="byol", **{**SMALL, "batch_size": 128, "accumulate": 4})
    assert set(shown) == {16}
    assert slow.seconds["model"] > 0
    shown.clear()
    monkeypatch.setattr("likewise.verbs.learning.doctor.STEP_SECONDS", 1e9)
    doctor(pixels(200), method="byol", **{**SMALL, "batch_size": 128})
    assert shown[:2] == [16, 16]
    assert set(shown[2:]) == {128}
