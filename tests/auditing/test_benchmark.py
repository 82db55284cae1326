"""Trials of people, and the figures that the benchmark's authors publish of them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from likewise.auditing.benchmark import (
    Figures,
    against_people,
    likeness,
    mean_of,
    of_people,
    pooled_shape_bias,
    ranks,
    texture_of,
)
from likewise.auditing.categories import SIXTEEN
from likewise.auditing.reference import made_of, reference
from likewise.auditing.trials import Trials, image_id, read_human
from likewise.errors import InputError

PUBLISHED = {
    "colour": (0.886719, 0.000747, 0.882812, 0.415432),
    "contrast": (0.660938, 0.008126, 0.780208, 0.437025),
    "high-pass": (0.628906, 0.014971, 0.765104, 0.440141),
    "low-pass": (0.661250, 0.001682, 0.790833, 0.468879),
    "phase-scrambling": (0.687891, 0.000802, 0.798177, 0.446673),
    "power-equalisation": (0.758929, 0.002640, 0.820238, 0.510632),
    "false-colour": (0.873661, 0.003267, 0.875893, 0.444045),
    "rotation": (0.829948, 0.001029, 0.842535, 0.438509),
    "eidolonI": (0.607500, 0.008919, 0.782917, 0.386336),
    "eidolonII": (0.582813, 0.003988, 0.788021, 0.454018),
    "eidolonIII": (0.639062, 0.011031, 0.778819, 0.459532),
    "uniform-noise": (0.682813, 0.001908, 0.782292, 0.434057),
    "sketch": (0.916250, 0.003579, 0.899881, 0.369620),
    "stylized": (0.471250, 0.008544, 0.750250, 0.500582),
    "edge": (0.871250, 0.020351, 0.838611, 0.318436),
    "silhouette": (0.753125, 0.008477, 0.803472, 0.475709),
    "cue-conflict": (0.775547, 0.011554, 0.765156, 0.331052),
}
"""By the published analysis code: accuracy, accuracy difference, observed and error consistency."""
MEAN = (0.722815, 0.006566, 0.808542, 0.431216)
SHAPE_BIAS = 0.958688
HEAD = "experiment,subject,session,trial,rt,object_response,category,condition,image_id"


def close(found: dict[str, Figures]) -> None:
    assert list(found) == list(PUBLISHED)
    for name, values in PUBLISHED.items():
        assert found[name] == pytest.approx(values, abs=1e-5), name
    assert mean_of(found) == pytest.approx(MEAN, abs=1e-5)


def test_the_table_of_the_package_holds_the_published_figures():
    close(dict(reference().benchmark))
    assert reference().shape_bias == pytest.approx(SHAPE_BIAS, abs=1e-5)
    assert len(reference().monitor_256) == 256


@pytest.mark.data
@pytest.mark.skipif("LIKEWISE_DATA" not in os.environ, reason="LIKEWISE_DATA names no folder of data")
def test_the_trials_of_people_give_the_published_figures():
    folder = Path(os.environ["LIKEWISE_DATA"]) / "model_vs_human"
    if not folder.is_dir():
        pytest.skip("the trials of people are not there")
    trials = read_human(folder)
    assert sum(map(len, trials)) == 85_120
    close(of_people(trials))
    conflicts = [one for one in trials if one.experiment == "cue-conflict"]
    assert pooled_shape_bias(conflicts) == pytest.approx(SHAPE_BIAS, abs=1e-5)
    told = made_of(trials)
    assert told["curves"] == reference().curves
    assert told["shape_bias_by_category"] == reference().shape_bias_by_category


def trial(observer: str, answers: list[int], levels: list[str] | None = None, name: str = "contrast") -> Trials:
    count = len(answers)
    level = np.asarray(levels or ["c50"] * count)
    images = np.asarray([f"{place}.png" for place in range(count)])
    return Trials(name, observer, images, level, np.zeros(count, np.int64), np.asarray(answers))


def test_likeness_is_averaged_over_levels_and_not_pooled():
    """Two observers that are independent at each level, one level easy and one hard: pooled, kappa would be above 0."""
    levels = ["c50"] * 4 + ["c05"] * 4
    first = trial("a", [0, 0, 1, 1, 0, 0, 1, 1], levels)
    second = trial("b", [0, 1, 0, 1, 0, 1, 0, 1], levels)
    assert likeness(first, second) == pytest.approx((0.0, 0.5, 0.0))
    easy = trial("a", [0, 0, 0, 0, 1, 1, 1, 1], levels)
    assert likeness(easy, trial("b", [0, 0, 0, 0, 1, 1, 1, 1], levels)).error == 1.0
    assert likeness(easy, trial("b", [0, 0, 0, 1, 1, 1, 1, 0], levels)).error == pytest.approx(0.0)


def test_the_order_of_trials_does_not_matter():
    first, second = trial("a", [0, 1, 0, 1, 1]), trial("b", [0, 0, 0, 1, 1])
    turned = second.take(np.asarray([True] * 5))
    order = np.asarray([4, 2, 0, 1, 3])
    turned = Trials("contrast", "b", second.image_N[order], second.condition_N[order], second.truth_N[order],
                    second.answer_N[order])  # fmt: skip
    assert likeness(first, second) == likeness(first, turned)


def test_other_stimuli_are_an_error():
    with pytest.raises(InputError, match="not seen the same stimuli"):
        likeness(trial("a", [0, 1]), trial("b", [0, 1, 1]))


def test_a_model_is_compared_on_what_people_have_seen():
    people = [trial("p", [0, 1, 0, 1]), trial("q", [0, 0, 1, 1])]
    model = trial("m", [0, 1, 0, 1, 0, 0])
    found = against_people([model], people)["contrast"]
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.observed == pytest.approx((1.0 + 0.5) / 2)
    assert against_people([trial("m", [0, 1], name="low-pass", levels=["1", "1"])], people) == {}


def test_ranks_are_means_over_three_figures():
    found = ranks({"good": Figures(0.7, 0.01, 0.8, 0.4), "poor": Figures(0.5, 0.09, 0.6, 0.5)})
    assert found == {"good": pytest.approx(4 / 3), "poor": pytest.approx(5 / 3)}


def test_textures_are_read_off_names():
    names = np.asarray(["dog10-bicycle1.png", "cat2-cat3.png", "plain.png"])
    number = list(SIXTEEN).index
    assert texture_of(names).tolist() == [number("bicycle"), number("cat"), -1]


def test_stimuli_are_called_by_their_image():
    assert image_id("0001_cr_s01_c05_dog_10_n02110185_9.png") == "n02110185_9.png"
    assert image_id("0007_ed_s03_0_oven_10_oven10.png") == "oven10.png"


def test_both_layouts_of_the_trials_are_read(tmp_path: Path):
    rows = ["contrast,subject-01,1,1,0.5,na,dog,c05,n01_1.png", "contrast,subject-01,1,2,,cat,cat,c10,n01_2.png"]
    with gzip.open(tmp_path / "human_trials.csv.gz", "wt") as file:
        file.write("\n".join([HEAD, *rows]) + "\n")
    one = read_human(tmp_path)[0]
    raw = tmp_path / "raw" / "contrast"
    raw.mkdir(parents=True)
    lines = [
        "subj,Session,trial,rt,object_response,category,condition,imagename",
        "subject-01,1,1,0.5,na,dog,c05,0001_c_s01_c05_dog_10_n01_1.png",
        "subject-01,1,2,NaN,cat,cat,c10,0002_c_s01_c10_cat_10_n01_2.png",
    ]
    (raw / "contrast_subject-01_session_1.csv").write_text("\n".join(lines) + "\n")
    other = read_human(tmp_path / "raw")[0]
    for part in ("image_N", "condition_N", "truth_N", "answer_N"):
        assert np.array_equal(getattr(one, part), getattr(other, part)), part
    assert one.right.tolist() == [False, True]


def test_folders_without_trials_and_strange_answers_are_told(tmp_path: Path):
    with pytest.raises(InputError, match="no trials of people"):
        read_human(tmp_path)
    file = tmp_path / "trials.csv"
    file.write_text(f"{HEAD}\ncontrast,subject-01,1,1,0.5,unicorn,dog,c05,a.png\n")
    with pytest.raises(InputError, match="the answer 'unicorn'"):
        read_human(file)
