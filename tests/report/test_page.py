"""The page as a whole: what it shows, that it needs nothing from outside, and that nothing can break it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.report import Evaluated, write_report
from likewise.report.style import SCRIPT, STYLE
from tests.browser import barriers, opened
from tests.report.conftest import MakeRun, grouped, score, some_images

VOID = {"meta", "img", "link", "br", "circle", "path", "line", "rect"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects what a browser would fetch and read."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.fetched += [found[key] or "" for key in ("src", "href", "srcset", "data", "poster") if key in found]
        self.fetched += re.findall(r"url\(([^)]*)\)", found.get("style") or "")
        if tag == "section":
            self.sections.append(found["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.fetched += re.findall(r"url\(([^)]*)\)|@import\s+([^;]*)", data)
        elif self.open[-1:] != ["script"]:
            self.words.append(data)


def page(path: Path) -> Page:
    found = Page(path.read_text(encoding="utf-8"))
    assert not found.open
    return found


def test_everything_is_there_and_nothing_is_fetched(make_run: MakeRun) -> None:
    images = some_images(60)
    path = write_report(
        make_run(broken=[{"name": "IMG_1.jpg", "reason": "it is empty"}]), images=images, features=grouped(images)
    )
    assert path.name == "report.html"
    found = page(path)
    assert found.sections == ["neighbours", "map", "scores", "training", "time", "data", "settings", "next"]
    assert found.fetched
    assert all(address.startswith("data:image/jpeg;base64,") for address in found.fetched)
    words = " ".join(found.words)
    for expected in (
        "ISD learned from 5,000 images of photos in 6 minutes, without labels.",
        "32.0\u00a0%",
        "58.0\u00a0%",
        "20-nearest-neighbour accuracy on 1,000 test images, before and after training",
        "exact cosine",
        "Healthy",
        "it is empty",
        "used at their own size",
        "likewise train photos/ --minutes 6",
        "likewise export",
        "ln K = 8.32",
    ):
        assert expected in words


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_it_and_nobody_is_kept_out(make_run: MakeRun, width: int, theme: str) -> None:
    images = some_images(40)
    path = write_report(make_run(), images=images, features=grouped(images))
    with opened(path.as_uri(), width=width, theme=theme) as seen:
        assert barriers(seen.page) == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert (seen.requests, seen.errors) == ([], [])


def test_an_evaluation_has_a_section_of_its_own_and_leaves_the_map(make_run: MakeRun) -> None:
    collection, others = some_images(40), some_images(30)
    others.names = [f"other-{n}.png" for n in range(30)]
    run = make_run()
    write_report(run, images=collection, features=grouped(collection))
    before = (run / "pictures.html").read_text()
    evaluated = Evaluated(others, grouped(others), "student", "other photos", "test")
    path = write_report(run, evaluated=evaluated)
    assert (run / "pictures.html").read_text() == before
    markup = path.read_text()
    parts = {name: markup.split(f'id="{name}"')[1].split("</section>")[0] for name in ("map", "evaluated")}
    assert "other-" not in parts["map"]
    assert "other-7.png" in parts["evaluated"]
    assert "other photos, test" in parts["evaluated"]
    assert 'id="evaluated"' in write_report(run).read_text()  # and is shown again by a report without it


def test_the_headline_does_not_celebrate_what_may_be_chance(make_run: MakeRun) -> None:
    change = {"label": "knn k=20", "which": "student", "against": "untrained", "data": "photos", "split": "test"}
    change |= {"low": -0.061, "high": 0.081, "difference": 0.01, "outcome": "unclear"}
    scores = [score("untrained", 0.57), score("student", 0.58)]
    said = "no clear gain: the interval includes 0"
    run = make_run(scores=scores, changes=[change], verdicts={"photos": said})
    markup = write_report(run).read_text()
    assert 'class="gain unclear"' in markup
    assert "+1.0 points (-6.1 to +8.1), no clear gain: the interval includes 0" in markup
    assert "+1.0 (-6.1 to +8.1)" in markup.split('class="scores"')[1]
    assert "No clear gain: the interval includes 0." in markup


def test_two_ways_of_voting_are_told_apart(make_run: MakeRun) -> None:
    votes = [{**score("student", value, 5), "variant": vote} for vote, value in (("majority", 0.5), ("weighted", 0.6))]
    table = write_report(make_run(scores=votes)).read_text().split('class="scores"')[1]
    assert "knn majority k=5" in table
    assert "knn weighted k=5" in table


def test_scores_on_two_data_sets_are_told_apart(make_run: MakeRun) -> None:
    other = [{**score("student", 0.4), "data": "aerial"}, {**score("random", 0.9), "data": "aerial"}]
    table = write_report(make_run(scores=[score("student", 0.58), *other])).read_text().split('class="scores"')[1]
    assert "20 nearest, photos" in table
    row = table.split("20 nearest, aerial")[1].split("</tr>")[0]
    assert "width:40.00%" in row  # random weights are no result of training
    assert "90.0" in row


def test_the_page_prints_in_colour_opens_images_and_cuts_nothing_on_a_phone() -> None:
    paper = STYLE.split("@media print")[1]
    assert "print-color-adjust:exact" in paper
    phone = STYLE.split("@media(max-width:720px)")[1]
    assert ".others figure:nth-child" not in phone
    assert "overflow-x:auto" in phone
    for needed in ("showModal", "'.neighbours figure, .tiles figure'", "event.key === 'Enter'", "onclick = show"):
        assert needed in SCRIPT


def test_names_cannot_become_markup(make_run: MakeRun) -> None:
    evil = '"><script>alert(1)</script><img src="https://example.org/x.png">'
    images = some_images(12)
    images.names = [f"{evil}{n}" for n in range(12)]
    images.class_names = (evil, "b", "c")
    run = make_run(
        broken=[{"name": evil, "reason": evil}],
        data={"name": evil, "path": evil, "images": 5, "class_names": [evil, "b"], "class_counts": [4, 5]},
        command=f"likewise train '{evil}'",
        method=evil,
        reason=evil,
        settings={evil: evil},
        resolved=[{"setting": evil, "value": evil, "reason": evil}],
        scores=[{**score("student", 0.5), "protocol": evil, "split": evil}],
        notes=[evil],
        health=evil,
    )
    found = page(write_report(run, images=images, features=grouped(images)))
    assert all(address.startswith("data:") for address in found.fetched)
    assert sum(evil in words for words in found.words) >= 10
    assert (run / "report.html").read_text().count("<script") == 1


def test_file_names_that_are_no_text_are_written(make_run: MakeRun) -> None:
    images = some_images(4, labelled=False)
    images.names = ["caf\udce9.jpg", "\u4e2d.jpg", "a\nb.jpg", ""]
    write_report(make_run(), images=images, features=grouped(images))


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    found = page(write_report(tmp_path))
    assert found.sections == ["training", "next"]
    assert "Not known yet" in found.words


def test_a_run_whose_files_are_odd_has_a_page(make_run: MakeRun) -> None:
    run = make_run(scores=[{"name": "knn"}, 3], data=None, settings=[1], resolved=[None], minutes=None, lines=1)
    (run / "broken.json").write_text("{")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": "big"}\n{"step": 2, "lo')
    assert "training" in page(write_report(run)).sections


def test_images_stay_when_the_page_is_written_again(make_run: MakeRun) -> None:
    images = some_images(20)
    run = make_run()
    write_report(run, images=images, features=grouped(images))
    assert "map" in page(write_report(run)).sections


def test_features_that_are_no_numbers_cost_only_the_images(make_run: MakeRun) -> None:
    images = some_images(20)
    features = grouped(images)
    run = make_run(health="collapsed")
    write_report(run, images=images, features=features)
    features[3] = torch.nan
    found = page(write_report(run, images=images, features=features))
    assert "map" not in found.sections
    assert any("not finite numbers" in words for words in found.words)
    assert "map" not in page(write_report(run)).sections


def test_what_does_not_fit_is_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    images = some_images(20)
    with pytest.raises(InputError, match="20 images and features of 19"):
        write_report(make_run(), images=images, features=grouped(images)[:19])
    with pytest.raises(InputError, match="no run"):
        write_report(tmp_path)


def test_many_images_are_sampled(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likewise.report.page.SHOWN", 30)
    images = some_images(200)
    found = page(write_report(make_run(), images=images, features=grouped(images)))
    assert any("of 30 that" in words for words in found.words)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_images_do_no_harm(make_run: MakeRun, count: int) -> None:
    images = some_images(5, labelled=False).subset(np.arange(count))
    found = page(write_report(make_run(), images=images, features=grouped(images)))
    assert ("map" in found.sections) == (count >= 2)
