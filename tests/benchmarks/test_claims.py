"""Every method has a claim that could be run, and claims are judged rightly. Nothing is trained here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import arms, claims, claims_report, results, started, where
from benchmarks.trends import BALANCED, CLAIMS, ELSEWHERE, METRIC, SCORES, Claim
from likewise import methods
from likewise.data.splitting.subsets import draw
from likewise.methods.pages import CLAIMS_FILE
from likewise.training.planning.asked import Asked
from likewise.training.planning.resolve import Choice, DataFacts, Machine, resolve
from likewise.verbs.learning.job import sort_asked

CIFAR = DataFacts(images=12_000, side=32, classes=10, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TWO = Claim(method="isd", text="", arms={"a": {"method": "isd"}, "b": {"method": "msf"}}, better="a")
THREE = Claim(
    method="isd",
    text="",
    arms={"a": {"method": "isd"}, "b": {"method": "msf"}, "c": {"method": "byol"}},
    better="a",
)


def own_methods() -> set[str]:
    return {name for name in methods.names() if methods.find(name).__module__.startswith("likewise.methods.")}


def resolved(keywords: Mapping[str, Any]) -> Any:
    given = {name: value for name, value in claims.as_trained(keywords).items() if name != "teacher"}
    _, wanted, own = sort_asked(given)
    assert isinstance(wanted, Asked)
    if "teacher" in keywords:
        own["teacher"] = "resnet18"  # it is read when the method is built
    return resolve(wanted, own, methods.find(wanted.method), CIFAR, Machine("cpu", bf16=False), Choice("s", 32, ""))


def test_every_method_has_a_claim() -> None:
    here = {claim.method for claim in CLAIMS}
    assert here.isdisjoint(ELSEWHERE)
    assert here | set(ELSEWHERE) == own_methods()
    assert all(find_spec(f"benchmarks.{module}") for module in ELSEWHERE.values())


@pytest.mark.parametrize("number", range(len(CLAIMS)))
def test_arms_can_be_trained(number: int) -> None:
    claim = CLAIMS[number]
    assert claim.better in claim.arms
    assert claim.method in {keywords["method"] for keywords in claim.arms.values()}
    assert claim.score in SCORES or claim.score.startswith(METRIC)
    budgets = set()
    for arm in claim.arms:
        keywords = claims.job_of(claim, arm, 0).keywords
        if "teacher" in keywords:
            resolved(keywords["teacher"])
        plan = resolved(keywords)
        kept = {field.name: getattr(plan.settings, field.name) for field in fields(plan.settings)}
        asked = {name: value for name, value in claim.arms[arm].items() if name in kept and name != "teacher"}
        assert {name: kept[name] for name in asked} == asked
        spec, rule = plan.encoder, plan.optimisation.optimiser
        budgets.add((plan.batch_size, plan.epochs, spec.width, spec.image_size, rule))
    assert len(budgets) == 1, "arms of a claim have the same budget and update rule"
    assert len({claims.job_of(claim, arm, 0).name for arm in claim.arms}) == len(claim.arms)


@pytest.mark.parametrize("subset", sorted({claim.subset for claim in CLAIMS}))
def test_draws_cost_about_the_same(subset: str) -> None:
    import numpy as np

    labels = np.arange(50_000) % 10
    drawn = draw(labels, [""] * len(labels), subset, 0)
    assert 12_000 <= len(drawn.index) <= 13_100
    if subset.startswith("isd"):
        assert drawn.groups is not None
        assert [len(drawn.groups[name]) for name in ("large", "rare")] == [2, 8]


@pytest.mark.parametrize(
    ("a", "b", "slack", "wanted"),
    [
        ([0.42, 0.43, 0.41], [0.40, 0.41, 0.39], 0.0, "holds"),
        ([0.40, 0.41, 0.39], [0.42, 0.43, 0.41], 0.0, "does not hold"),
        ([0.42, 0.38, 0.41], [0.40, 0.40, 0.40], 0.0, "within noise"),
        ([0.398, 0.399, 0.397], [0.40, 0.40, 0.40], 0.005, "holds"),
        ([0.398, 0.399, 0.397], [0.40, 0.40, 0.40], 0.0, "does not hold"),
        ([0.50], [0.40], 0.0, "within noise"),
        ([], [], 0.0, "not run"),
    ],
)
def test_verdicts(a: list[float], b: list[float], slack: float, wanted: str) -> None:
    assert claims.compared(a, b, slack).verdict == wanted


def test_differences_are_taken_seed_by_seed() -> None:
    found = claims.compared([0.31, 0.52, 0.73], [0.30, 0.50, 0.70])
    assert found.difference == pytest.approx(0.02)
    assert found.error == pytest.approx(0.01 / 3**0.5)
    assert found.verdict == "holds", "draws that differ by forty points do not hide a difference of two"


def test_the_rival_that_is_failed_against_counts() -> None:
    ahead, lower = [0.42, 0.43, 0.41], [0.30, 0.31, 0.29]
    assert claims.judge(THREE, {"a": ahead, "b": lower, "c": [0.5, 0.52, 0.51]}).verdict == "does not hold"
    assert claims.judge(THREE, {"a": ahead, "b": lower, "c": [0.40, 0.45, 0.41]}).verdict == "within noise"
    assert claims.judge(THREE, {"a": ahead, "b": lower, "c": lower}).verdict == "holds"


def test_lower_may_be_better() -> None:
    values = {"a": [0.01, 0.02, 0.01], "b": [0.1, 0.12, 0.11]}
    loss = Claim(method="isd", text="", arms=TWO.arms, better="a", score="metric loss", lower=True)
    assert claims.judge(loss, values).verdict == "holds"
    assert claims.judge(TWO, values).verdict == "does not hold"


def store_cells(folder: Path, claim: Claim, values: dict[str, list[float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for arm, of_arm in values.items():
        for seed, value in enumerate(of_arm):
            job = claims.job_of(claim, arm, seed)
            cell = {"job": asdict(job), "scores": {claim.score: value}}
            (folder / f"{job.name}.json").write_text(json.dumps(cell))


def test_stored_cells_become_a_row(tmp_path: Path) -> None:
    assert claims.row(TWO, tmp_path)[-1] == "not run"
    store_cells(tmp_path, TWO, {"a": [0.42, 0.43, 0.41, 0.40], "b": [0.40, 0.41, 0.39]})
    *_, measured, difference, seeds, verdict = claims.row(TWO, tmp_path)
    assert (seeds, verdict) == ("3", "holds"), "the seed that one arm lacks is left out"
    assert measured == "20-NN: a 42.0 ± 1.0 %; b 40.0 ± 1.0 %"
    assert difference.startswith("+2 ± ")
    changed = Claim(method="isd", text="", arms={**TWO.arms, "a": {"method": "isd", "momentum": 0.5}}, better="a")
    assert claims.row(changed, tmp_path)[-1] == "not run", "cells of other settings are not taken"


def test_results_tell_of_all_claims(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    page = results.write(tmp_path, tmp_path / "RESULTS.md").read_text()
    assert "## Claims at small scale" in page
    assert page.count("| not run |") == len(CLAIMS)


def test_shared_arms_are_trained_once() -> None:
    jobs = claims.jobs_of(claims.chosen(["mochi", "mcl"]), 3, 0, quick=False)
    assert len(jobs) == 3 * 3, "MoCHi, MCL, and the MoCo v2 of both"
    assert {job.subset for job in jobs} == {BALANCED}
    assert {job.seed for job in claims.jobs_of([TWO], 2, 7, quick=False)} == {7, 8}


def test_list_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert claims.main(["isd", "--list", "--store", str(tmp_path)]) == 0
    assert "0 of 10 cells" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        claims.main(["isdd", "--list"])
    assert "did you mean" in capsys.readouterr().err


def test_late_means() -> None:
    lines = [{"fraction": 0.2, "loss": 9.0}, {"fraction": 0.8, "loss": 2.0}, {"fraction": 1.0, "loss": 1.0}]
    assert claims.late_means(lines)["metric loss"] == pytest.approx(1.5)


def test_claims_from_a_start_share_it_and_keep_what_they_are_about() -> None:
    assert set(started.METHODS) <= {claim.method for claim in CLAIMS}
    (claim,) = started.claims_of(["mochi"], 6.0, 2.0)
    jobs = claims.jobs_of([claim], 2, 0, quick=False)
    assert len(jobs) == 2 * len(claim.arms)
    assert {json.dumps(job.keywords["start"], sort_keys=True) for job in jobs} == {
        json.dumps({**claims.BUDGET, "method": "simclr", "minutes": 6.0, "epochs": None}, sort_keys=True)
    }
    before = next(one for one in CLAIMS if one.method == "mochi")
    for arm, asked in claim.arms.items():
        assert {k: v for k, v in asked.items() if k not in {"start", "epochs"}} == before.arms[arm]


def test_what_is_stored_of_a_start_is_told_by_its_budget(tmp_path: Path) -> None:
    store = tmp_path / started.FOLDER
    (claim,) = started.claims_of(["mochi"], 6.0, 2.0)
    assert list(started.sections(tmp_path / "claims")) == []
    started.note(store, 6.0, 2.0)
    for job in claims.jobs_of([claim], 1, 0, quick=False):
        cell = {"job": asdict(job), "scores": dict.fromkeys(SCORES, 0.5)}
        (store / f"{job.name}.json").write_text(json.dumps(cell))
    words, table = started.sections(tmp_path / "claims")
    assert "SimCLR run of 6 minutes" in words
    assert "MoCHi 50.0 %" in table
    pages = claims_report.write_for_pages(tmp_path / "claims", tmp_path / "claims.json")
    before, after = (found[0] for found in json.loads(pages.read_text(encoding="utf-8"))["mochi"])
    assert after == f"From an encoder that SimCLR trained for 6 minutes: {before}"


def test_pages_of_methods_say_what_is_stored(tmp_path: Path) -> None:
    written = claims_report.write_for_pages(file=tmp_path / "claims.json").read_text(encoding="utf-8")
    assert written == CLAIMS_FILE.read_text(encoding="utf-8"), "run `python -m benchmarks --write` and `make docs`"


def test_scores_of_places_are_told_as_means_over_seeds(tmp_path: Path) -> None:
    file = tmp_path / "where.json"
    for seed, value in ((0, 0.25), (1, 0.35)):
        arms.add(file, "mixup", "epochs 4, width 8", "MoCo v2", seed, {"gap": value})
    arms.add(file, "mixup", "epochs 4, width 8", "mixup", 0, {"gap": 0.1})
    told = where.section(file)
    assert "| MoCo v2 | 30.0 | 2 |" in told
    assert "| mixup | 10.0 | 1 |" in told
    page = results.write(tmp_path, tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "## Places and objects" in page
