"""Runs side by side: what belongs together, what must not share a column, and what is said of chance."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import likewise
from likewise.comparison import check_free, compare, footprints, write
from likewise.comparison.entries import Entry, Kind, Scored, flat_settings
from likewise.comparison.groups import grouped
from likewise.comparison.tables import cell, columns_of, contrasts
from likewise.encoders import build, save_encoder
from likewise.encoders.files import onnx
from likewise.errors import InputError
from likewise.evaluation.probes.linear import fit, settings_text
from likewise.evaluation.scores import CLASS_MEAN, rule_of
from likewise.evaluation.significance import over_classes
from likewise.verbs.judging.evaluate import evaluate
from tests.browser import barriers, opened
from tests.comparison.conftest import PROTOCOL, TRUTH, MakeRun, said
from tests.evaluation.conftest import SPEC
from tests.report.test_page import page


def test_runs_that_differ_only_in_the_seed_are_one_row(make_run: MakeRun) -> None:
    runs = [make_run(f"i{seed}", said(100 + 10 * seed), seed=seed) for seed in range(3)]
    runs += [make_run(f"m{seed}", said(80 + 10 * seed), method="moco_v2", seed=seed) for seed in range(3)]
    found = compare(*runs)
    assert [(group.label, len(group.entries)) for group in found.groups] == [("isd", 3), ("moco_v2", 3)]
    (column,) = found.columns
    best = cell(found.groups[0], column)
    assert best is not None
    assert best.mean == pytest.approx(0.55)
    assert best.spread == pytest.approx(np.std([0.5, 0.55, 0.6], ddof=1))
    (contrast,) = found.contrasts
    assert contrast.best == 0
    assert contrast.seeds is not None
    assert contrast.images is not None
    assert contrast.seeds.difference == pytest.approx(0.1)
    assert contrast.images.difference == pytest.approx(0.1)
    assert "55.0 ± 5.0 %*" in found.to_text()
    assert "isd leads moco_v2 by 10.0 points" in found.to_text()


def test_labels_name_what_differs_and_not_what_follows_from_the_method(make_run: MakeRun) -> None:
    long = make_run("a", said(90), queue_size=128)
    short, moco = make_run("b", said(80)), make_run("c", said(70), method="moco_v2")
    found = compare(long, short, moco)
    assert [group.label for group in found.groups] == [
        "isd, queue_size 128",
        "isd, queue_size 64",
        "moco_v2, queue_size 64",
    ]
    assert list(found.groups[0].differs) == ["method", "queue_size", "temperature"]
    assert "temperature (0.1, 0.2)" in found.to_text()


def test_a_setting_that_an_older_version_did_not_have_is_no_difference(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(90)), make_run("b", said(80), seed=1, newer=True))
    assert [len(group.entries) for group in found.groups] == [2]


def test_two_single_runs_are_tested_by_mcnemar(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(list(range(50, 150)))), make_run("b", said(list(range(60, 200))), queue_size=8))
    (contrast,) = found.contrasts
    assert contrast.seeds is None
    assert contrast.images is not None
    assert "of 200 images 50 against 10 only one gets right" in contrast.images.how
    assert "leads" in found.to_text()


def test_small_differences_are_said_to_be_chance(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(list(range(100)))), make_run("b", said(list(range(1, 102))), queue_size=8))
    assert "cannot be told apart" in found.to_text()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"protocol": PROTOCOL.replace("32 px", "64 px")}, "'32 px', and '64 px'"),
        ({"n": 199}, "200 test images, and 199 test images"),
        ({"split": "val"}, "200 val images"),
    ],
)
def test_other_protocols_have_a_column_of_their_own(make_run: MakeRun, other: dict[str, Any], why: str) -> None:
    found = compare(make_run("a", said(90)), make_run("b", said(80, **other), queue_size=8))
    assert [column.title for column in found.columns] == ["knn k=20 [1]", "knn k=20 [2]"]
    assert not found.contrasts
    assert any("not comparable" in note and why in note for note in found.notes)
    for group in found.groups:
        assert sum(cell(group, column) is not None for column in found.columns) == 1


def test_other_images_and_other_data_are_not_one_column(make_run: MakeRun) -> None:
    base = make_run("a", said(90))
    for name, more in (("b", {"images": "other"}), ("c", {"data": "elsewhere"})):
        found = compare(base, make_run(name, said(80), queue_size=8, **more))
        assert len(found.columns) == 2
        assert not found.contrasts


def test_another_word_for_images_is_no_other_protocol() -> None:
    before = "knn, k=20 (cut to the 9 pictures of the bank)"  # older runs say so
    assert rule_of(before) == rule_of("knn, k=20 (cut to the 9 images of the bank)")


def test_a_slash_behind_the_data_is_no_other_data(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(90)), make_run("b", said(80), queue_size=8, data="photos/"))
    assert len(found.columns) == 1
    assert found.contrasts


def test_a_decay_that_the_probe_chose_is_no_other_protocol(make_run: MakeRun) -> None:
    draw = torch.Generator().manual_seed(0)
    x_NF, y_N = torch.randn(60, 5, generator=draw), torch.arange(60) % 3
    words = [settings_text(fit(x_NF, y_N, decays=decays), 0) for decays in ((1e-1,), (1e-4,))]
    assert words[0] != words[1]
    assert rule_of(words[0]) == rule_of(words[1])
    scores = [said(90, protocol, name="linear", k=None) for protocol in words]
    found = compare(make_run("a", scores[0]), make_run("b", scores[1], queue_size=8))
    assert len(found.columns) == 1


@pytest.mark.parametrize(
    "protocol",
    [
        "logistic regression, C = {} of 30 from 1e-05 to 1e+06, chosen on a stratified 20% of the bank (seed 0)",
        "linear probe, SGD rate 0.01; epoch {}, the best on the queries, as published",
    ],
)
def test_what_other_probes_chose_is_no_other_protocol(protocol: str) -> None:
    assert rule_of(protocol.format("3")) == rule_of(protocol.format("12")) != protocol.format("3")


def test_runs_evaluated_before_answers_were_kept_join_without_a_test(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(90)), make_run("b", said(80), kept=False, queue_size=8))
    assert len(found.columns) == 1
    (contrast,) = found.contrasts
    assert contrast.images is None
    assert "not known" in " ".join(found.to_text().split())


def test_student_and_teacher_are_two_columns_and_the_untrained_a_row(make_run: MakeRun) -> None:
    run = make_run("a", said(90), said(95, which="teacher"), said(50, which="untrained"))
    found = compare(run)
    assert [column.title for column in found.columns] == ["knn k=20 (student)", "knn k=20 (teacher)"]
    (without,) = found.untrained
    assert without.label == "untrained"
    assert all(cell(without, column) is not None for column in found.columns)


def test_a_score_from_before_training_is_never_that_of_the_run(make_run: MakeRun) -> None:
    run = make_run("a", said(50, which="untrained"), said(90))  # as `evaluate` leaves it when it scores a run again
    found = compare(run, make_run("b", said(70), said(50, which="untrained"), queue_size=8))
    means = {group.entries[0].name: cell(group, found.columns[0]) for group in found.groups}
    assert means[str(run)] is not None
    assert means[str(run)].mean == 0.45
    assert [cell(group, found.columns[0]).mean for group in found.untrained] == [0.25]


def test_a_mean_over_classes_is_tested_class_by_class(make_run: MakeRun) -> None:
    first, second = said(range(120), measure=CLASS_MEAN), said(range(40, 200), measure=CLASS_MEAN)
    (contrast,) = compare(make_run("a", first), make_run("b", second, queue_size=8)).contrasts
    assert contrast.images == over_classes(np.arange(200) < 120, np.arange(200) >= 40, TRUTH)


def test_the_best_of_equal_rows_is_seldom_said_to_lead() -> None:
    draw, false = np.random.default_rng(0), 0
    kind = Kind("photos", "test", 300, "knn", 20, "accuracy", "", "", "abc")
    for _ in range(60):
        hard = draw.beta(2, 1, 300)
        right = draw.random((10, 300)) < hard
        entries = [
            Entry(f"{row}", {"method": row}, scores=(Scored(kind, "student", float(one.mean()), right_Q=one),))
            for row, one in enumerate(right)
        ]
        found = contrasts(grouped(entries), columns_of(entries))
        false += min(one.images.p for one in found if one.images is not None) < 0.05
    assert false <= 5


def test_several_others_have_their_p_raised(make_run: MakeRun) -> None:
    runs = [
        make_run(name, said(right), queue_size=size)
        for name, right, size in (("a", 120, 1), ("b", 110, 2), ("c", 90, 3))
    ]
    two, three = compare(*runs[:2]), compare(*runs)
    alone = two.contrasts[0].images
    among = next(one.images for one in three.contrasts if one.other == 1)
    assert alone is not None
    assert among is not None
    assert among.p >= alone.p
    assert len(three.contrasts) == 2


def test_a_run_without_scores_is_named_and_has_its_budget(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(90)), make_run("b", queue_size=8))
    assert any("not scored yet" in note and note.endswith("/b") for note in found.notes)
    assert "2,560" in found.to_text()
    empty = compare(make_run("c"))
    assert not empty.columns
    assert empty.to_text()


def test_the_table_for_other_programs_has_one_line_a_score(make_run: MakeRun) -> None:
    found = compare(make_run("a", said(90), said(95, which="teacher")), make_run("b", queue_size=8))
    lines = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [(line["which"], line["value"]) for line in lines] == [("student", "0.45"), ("teacher", "0.475"), ("", "")]
    assert lines[0]["protocol"] == PROTOCOL
    assert lines[2]["images_seen"] == "2560"
    json.dumps(found.to_json())


def test_the_page_is_whole_and_fetches_nothing(make_run: MakeRun) -> None:
    evil = '"><script>alert(1)</script>'
    runs = [make_run("a", said(90), said(40, which="untrained")), make_run("b", said(80), queue_size=8, note=evil)]
    runs.append(make_run("c", said(85, evil), method="moco_v2", lines=1))
    path = write(runs[0] / "page.html", compare(*runs).to_html())
    found = page(path)
    assert found.sections == ["scores", "learning", "cost", "differences", "runs"]
    assert not found.fetched
    assert path.read_text().count("<script") == 1
    words = " ".join(found.words)
    for expected in ("Is it more than chance?", "Nearest neighbours, by images seen", "Loss of isd, by minutes"):
        assert expected in words
    with opened(path.as_uri()) as seen:
        assert barriers(seen.page) == []


def test_files_are_not_overwritten_unless_asked(tmp_path: Path) -> None:
    write(tmp_path / "new" / "a.csv", "1")
    with pytest.raises(InputError, match="overwrite"):
        check_free(tmp_path / "new" / "a.csv")
    assert write(tmp_path / "new" / "a.csv", "2", overwrite=True).read_text() == "2"
    with pytest.raises(InputError, match="cannot write"):
        write(tmp_path / "new" / "a.csv" / "b", "3")


def test_what_cannot_be_compared_is_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", said(90))
    for arguments, message in (
        (([],), "needs runs"),
        (([run, tmp_path / "nun"],), "did you mean"),
        (([run, run],), "named twice"),
    ):
        with pytest.raises(InputError, match=message):
            compare(*arguments[0])
    with pytest.raises(InputError, match="labels_per_class=0"):
        compare(run, labels_per_class=[5, 0])
    with pytest.raises(InputError, match="draws=0"):
        compare(run, labels_per_class=[5], draws=0)
    with pytest.raises(InputError, match="labels_per_class"):
        compare(run).to_svg()


def test_settings_are_flat_and_without_what_follows_from_the_data() -> None:
    stored = {
        "method": "isd",
        "encoder": {"name": "r", "mean": [1], "width": 8},
        "settings": {"crop": [1, 2]},
        "seed": 3,
    }
    assert flat_settings(stored) == {"method": "isd", "crop": (1, 2), "encoder": "r", "encoder.width": 8}


# With images -----------------------------------------------------------------------------------------------------


def test_runs_are_scored_on_data_that_is_named_and_labels_are_counted(trained: Path, data: Path) -> None:
    weights = trained / "encoder.safetensors"
    found = compare(
        trained, weights, data=str(data), probe=["knn"], untrained=True, labels_per_class=[1, 5, 20], quiet=True
    )
    assert {column.title for column in found.columns} == {"knn k=1", "knn k=20", "knn k=200"}
    stored = json.loads((trained / "run.json").read_text())
    assert {score["which"] for score in stored["scores"]} == {"student", "untrained"}
    assert [curve.counts for curve in found.efficiency] == [(1, 5, 20)] * 3
    own, same, before = found.efficiency
    assert before.label == "untrained"
    assert own.accuracy == same.accuracy, "the same weights and the same draws"
    assert len(own.accuracy[0]) == 5
    assert len(own.accuracy[2]) == 1, "all labels can be drawn in one way only"
    assert own.means()[2] > 0.9
    assert found.to_svg().startswith("<svg")
    assert "labels of each class" in found.to_text()
    assert "labels" in page(write(trained / "c.html", found.to_html())).sections
    with pytest.raises(InputError, match="more than any class has"):
        compare(trained, labels_per_class=[500], quiet=True)
    with pytest.raises(InputError, match="no run"):
        compare(weights)


def test_what_encoders_take_to_run_is_measured(trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprints, "SECONDS", 0.0)
    monkeypatch.setattr(footprints, "processors", lambda: 2)
    before, weights = torch.get_num_threads(), trained / "encoder.safetensors"
    larger = trained / "other" / "larger.safetensors"
    save_encoder(build(replace(SPEC, image_size=24), seed=1), larger)
    asked: dict[str, Any] = {"data": str(data), "probe": ["knn"], "quiet": True}
    assert len(compare(weights, larger, **asked).columns) == 6, "a column for each side"
    found = compare(weights, larger, footprint=True, **asked)
    assert len(found.columns) == 3, "each encoder at its own side"
    assert [one.image_size for _, one in found.footprints] == [SPEC.image_size, 24]
    found = compare(trained, weights, footprint=True, **asked)
    assert torch.get_num_threads() == before
    own, same = found.to_json()["footprints"]
    encoder = likewise.load(trained)
    assert own["parameters"] == same["parameters"] == sum(weight.numel() for weight in encoder.parameters())
    assert own["bytes"] == weights.stat().st_size
    assert [(one["batch"], one["threads"]) for one in own["latencies"]] == [(1, 1), (32, 1), (1, 2), (32, 2)]
    assert all(one["milliseconds"] > 0 for one in own["latencies"])
    assert own["latencies"][1]["milliseconds"] > own["latencies"][0]["milliseconds"]
    text = found.to_text()
    for words in ("parameters", "on disk", "1 image, 1 thread", "32 images, 2 threads"):
        assert words in " ".join(text.split())
    assert "footprint" in page(write(trained / "f.html", found.to_html())).sections
    assert compare(trained, quiet=True).to_json()["footprints"] == []


def test_an_onnx_file_is_timed_with_the_threads_that_are_said(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(footprints, "SECONDS", 0.0)
    monkeypatch.setattr(footprints, "processors", lambda: 2)
    likewise.export(trained, format="onnx", out=tmp_path / "encoder.onnx")
    opened: list[int] = []
    whole = onnx._opened

    def counted(path: Path, threads: int) -> Any:
        opened.append(threads)
        return whole(path, threads)

    monkeypatch.setattr(onnx, "_opened", counted)
    found = footprints.measure(str(tmp_path / "encoder.onnx"), device=torch.device("cpu"))
    assert [latency.threads for latency in found.latencies] == [1, 1, 2, 2]
    assert set(opened) == {1, 2}
    assert (found.parameters, found.bytes) == (None, (tmp_path / "encoder.onnx").stat().st_size)


def test_it_is_what_the_package_calls_compare(make_run: MakeRun) -> None:
    assert likewise.compare is compare


def test_scores_shown_are_those_of_an_evaluation(trained: Path) -> None:
    result = evaluate(trained, probe="knn", quiet=True)
    found = compare(trained)
    assert [column.kind.k for column in found.columns] == [20, 1, 200]
    shown = {column.kind.k: cell(found.groups[0], column) for column in found.columns}
    for score in result:
        one = shown[score.k]
        assert one is not None
        assert one.mean == score.value
        assert one.scores[0].right_Q is not None
        assert one.scores[0].right_Q.mean() == pytest.approx(score.value)
