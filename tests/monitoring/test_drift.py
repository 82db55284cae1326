"""False alarms over 200 draws, what is found where something changed, and the verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import likewise
from likewise.cli import main
from likewise.encoders import build, save_encoder
from likewise.errors import InputError
from likewise.monitoring.drift import PERMUTATIONS, novelty, permutations_for, two_sample
from tests.evaluation.conftest import SPEC, drawn


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def rows(count: int, seed: int, shift: float = 0.0) -> Tensor:
    """Features of a skewed distribution."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, 8, generator=generator).exp()
    found[:, 0] += shift
    return found


def test_false_alarms_keep_the_level_over_200_draws():
    """At 0.05 in 200 draws more than 18 alarms would have a probability below 1 %."""
    level, draws = 0.05, 200
    alarms = 0
    for seed in range(draws):
        both = rows(70, seed)
        alarms += two_sample(both[:40], both[40:], seed=seed, permutations=199).p <= level
    assert alarms <= stats.binom.ppf(0.99, draws, level)
    assert alarms > 0  # it is not silent either


def test_a_shift_is_found_and_grows_with_its_size():
    small, large = (two_sample(rows(150, 0), rows(150, 1, shift), permutations=199) for shift in (2.0, 6.0))
    assert small.p <= 0.05
    assert large.p == pytest.approx(1 / 200)
    assert large.distance > small.distance


def test_equal_samples_have_no_distance():
    same = rows(40, 0)
    found = two_sample(same, same, permutations=99)
    assert found.distance == pytest.approx(0.0, abs=1e-9)
    assert found.p == 1.0


def test_of_images_like_the_old_ones_the_stated_share_is_told():
    told = [novelty(rows(400, seed), rows(100, 1000 + seed), rate=0.05).is_new_M.mean() for seed in range(20)]
    assert np.mean(told) == pytest.approx(0.05, abs=0.015)


def test_new_images_are_told_with_their_nearest():
    old, fresh = rows(400, 0), rows(50, 1)
    fresh[:10] = -fresh[:10]
    found = novelty(old, fresh)
    assert found.is_new_M[:10].all()
    assert found.is_new_M[10:].sum() <= 4
    assert found.expected == pytest.approx(0.5)
    found = novelty(old, old[:20])
    own = found.distance_M < 1e-6  # of those that are searched each finds itself, among others
    assert (found.nearest_M[own] == np.flatnonzero(own)).all()


def test_a_low_level_and_many_classes_can_still_give_an_alarm(tmp_path: Path):
    assert permutations_for(0.05) == PERMUTATIONS
    assert 1 / (permutations_for(2e-4) + 1) <= 2e-4
    assert 60 / (permutations_for(0.05, 60) + 1) <= 0.05
    with pytest.raises(InputError, match="level=1e-06 is too low"):
        permutations_for(1e-6)
    old, new = rows(720, 0), rows(720, 1)
    labels = np.repeat(np.arange(60), 12)
    new[labels == 7] += 4.0
    for name, features in (("old", old), ("new", new)):
        np.savez(tmp_path / f"{name}.npz", features=features.numpy(), labels=labels)
    found = likewise.drift(tmp_path / "old.npz", tmp_path / "new.npz", quiet=True)
    assert [one.name for one in found.classes if one.p is not None and one.p <= 0.05] == ["7"]


def test_few_old_images_raise_the_rate():
    assert novelty(rows(20, 0), rows(20, 1)).rate == pytest.approx(1 / 11)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (rows(5, 0), rows(40, 1), "at least 10"),
        (rows(40, 0), rows(40, 1)[:, :4], "of one encoder"),
        (rows(40, 0), rows(40, 1) * float("nan"), "finite"),
    ],
)
def test_what_cannot_be_tested_is_told(old: Tensor, new: Tensor, told: str):
    with pytest.raises(InputError, match=told):
        two_sample(old, new)


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, Path]:
    save_encoder(build(SPEC, seed=0), tmp_path / "encoder.safetensors")
    files = {"encoder": tmp_path / "encoder.safetensors"}
    for name, seed in (("old", 1), ("same", 2), ("dark", 3)):
        images, labels = drawn(90, seed)
        if name == "dark":
            images[labels == 2] //= 3
        files[name] = tmp_path / f"{name}.npz"
        np.savez(files[name], images=images, labels=labels)
    return files


def test_one_class_that_changed_is_found(stored: dict[str, Path]):
    found = likewise.drift(stored["encoder"], stored["dark"], old=stored["old"], quiet=True)
    assert found.drifted
    p = {one.name: one.p for one in found.classes}
    assert p["2"] is not None
    assert p["2"] <= 0.05
    assert min(p["0"] or 0, p["1"] or 0) > 0.05
    labels = np.load(stored["dark"])["labels"]
    assert (labels[found.newest()] == 2).mean() > 0.8
    assert not likewise.drift(stored["encoder"], stored["same"], old=stored["old"], quiet=True).drifted


def test_the_old_images_are_those_that_the_run_learned_from(tmp_path: Path):
    """Not its test split, which would hide new images, nor what its draw left out."""
    (train, labels), (test, _) = drawn(90, 1), drawn(60, 2)
    np.savez(tmp_path / "data.npz", train_images=train, train_labels=labels, test_images=test)
    np.savez(tmp_path / "new.npz", images=test)
    save_encoder(build(SPEC, seed=0), tmp_path / "encoder.safetensors")
    stored = {"path": str(tmp_path / "data.npz"), "split": "train"}
    for subset, count in ((None, 90), ({"text": "perclass:10", "seed": 0}, 30)):
        (tmp_path / "run.json").write_text(json.dumps({"data": {**stored, "subset": subset}}))
        assert likewise.drift(tmp_path, tmp_path / "new.npz", quiet=True).test.old == count


def test_features_are_as_good_as_images(stored: dict[str, Path], tmp_path: Path):
    encoder = likewise.load(stored["encoder"])
    kept = tmp_path / "features.npz"
    with np.load(stored["old"]) as old:
        np.savez(kept, features=encoder.embed(stored["old"]).numpy(), labels=old["labels"])
    by_file = likewise.drift(kept, stored["dark"], encoder=stored["encoder"], quiet=True)
    by_images = likewise.drift(stored["encoder"], stored["dark"], old=stored["old"], quiet=True)
    assert by_file.test.distance == pytest.approx(by_images.test.distance, abs=1e-6)
    assert by_file.test.p == by_images.test.p
    with pytest.raises(InputError, match="--encoder"):
        likewise.drift(kept, stored["dark"])


def test_from_the_shell(stored: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    words = ["drift", str(stored["encoder"]), str(stored["dark"]), "--old", str(stored["old"])]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["drifted"] is True
    assert told["new"]
    assert main(words) == 0
    assert "has drifted" in capsys.readouterr().out
    assert main([*words, "--level", "2"]) == 2
    assert capsys.readouterr().err == "likewise: level=2.0 must be above 0 and below 1; usual is 0.05\n"
    assert main(["drift", str(stored["encoder"]), str(stored["dark"])]) == 2
    assert capsys.readouterr().err.count("\n") == 1
