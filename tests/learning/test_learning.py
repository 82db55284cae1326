"""Methods learn: a few hundred steps on real images lift kNN clearly above the untrained encoder.

All that the ledger knows to learn did so when they were trained for it. Here those are trained whose own code has
changed since, and a sixth of the others, another at each commit: with what all methods share, any may have changed.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from likewise import methods
from likewise.methods.ledger import LIFT, entries
from likewise.methods.ledger import digest as digest_now
from tests.learning.learn import COURSES, images, learn

SHARE = 6
"""One method of so many is trained at each commit, and at most as many again of those that have changed."""


def commit() -> str:
    """The hash of the commit that is checked out; zeros outside a repository."""
    git = shutil.which("git") or "true"
    told = subprocess.run(
        [git, "rev-parse", "--verify", "HEAD"], cwd=Path(__file__).parent, capture_output=True, check=False
    )
    return told.stdout.decode().strip() or "0" * 40


def chosen(fresh: Mapping[str, bool], commit_hash: str) -> list[str]:
    """Methods to train: of those with a stale entry all, up to a sixth of all methods, and every sixth of the rest.

    Where more have changed than that, `make learn` is due; until then they are experimental.
    """
    turn = int(commit_hash[:8], 16)
    stale, rest = (sorted(name for name, is_fresh in fresh.items() if is_fresh is kind) for kind in (False, True))
    most = math.ceil(len(fresh) / SHARE)
    start = turn % len(stale) if len(stale) > most else 0
    return [*(stale[start:] + stale[:start])[:most], *rest[turn % SHARE :: SHARE]]


LEARNED = {name: methods.find(name) for name, entry in entries().items() if entry.learned and name in methods.names()}
FRESH = {name: digest_now(method) == entries()[name].digest for name, method in LEARNED.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("LIKEWISE_DATA", ""))
    if not (folder / "cifar10.parquet").exists():
        pytest.skip("LIKEWISE_DATA names no folder with cifar10.parquet")
    return images(folder, tmp_path_factory.mktemp("learning"))


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("method", chosen(FRESH, commit()))
def test_a_few_hundred_steps_lift_knn(method: str, data: Path, tmp_path: Path) -> None:
    entry = learn(method, data, tmp_path, data.parent)
    assert entry.score - entry.untrained > LIFT, entry


def test_methods_that_need_more_than_images_have_a_course() -> None:
    needing = {name for name in methods.names() if {"videos", "pairs"} & set(methods.find(name).card.needs)}
    assert set(COURSES) == {"bgaug", *needing}  # the former needs masks that are right


def test_every_method_has_its_turn_and_never_all_at_once() -> None:
    fresh = {f"m{number:02}": True for number in range(50)}
    turns = [chosen(fresh, f"{number:08x}") for number in range(SHARE)]
    assert sorted(name for turn in turns for name in turn) == sorted(fresh)
    assert {len(turn) for turn in turns} == {8, 9}
    assert chosen({**fresh, "m07": False, "m08": False}, "0" * 40)[:2] == ["m07", "m08"]
    changed = [chosen(dict.fromkeys(fresh, False), f"{number:08x}") for number in range(50)]
    assert {len(turn) for turn in changed} == {9}
    assert {name for turn in changed for name in turn} == set(fresh)
