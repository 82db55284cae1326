"""The page in a browser: both widths, light and dark, keys, lists, the list that is downloaded, and 100,000 images."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from likewise.data.splitting.listed import listed
from likewise.errors import InputError
from likewise.exploring.layout import slots
from likewise.exploring.page import write_folder, write_page
from likewise.exploring.payload import pack
from likewise.exploring.relations import Relations, relate
from likewise.exploring.serving import address, server
from likewise.exploring.sprites import SheetPlan, plan, sheets
from tests.browser import Opened, barriers, opened, until
from tests.exploring.conftest import MakeCollection

ABOUT = {"about": "squares", "command": "likewise train squares --subset list:selection.csv"}
READY = "html[data-ready]"


@pytest.fixture
def small(tmp_path: Path, make_collection: MakeCollection) -> Path:
    collection = make_collection(60, side=32)
    found = relate(collection, clusters=3)
    points = np.random.default_rng(0).uniform(0, 1, (60, 2)).astype(np.float32)
    made, slot = plan(collection, 10**6), slots(points)
    payload = pack(collection, found, points, slot, made, ABOUT)
    write_page(tmp_path / "page.html", payload, sheets(collection, slot, made))
    return tmp_path / "page.html"


def loaded(found: Opened) -> Opened:
    found.page.wait_for_selector(READY, timeout=60_000)
    until(found.page, "likewise.drawing.placed?.length > 0")
    return found


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_page_needs_nothing_else(small: Path, width: int, theme: str) -> None:
    with opened(small.as_uri(), width=width, theme=theme) as found:
        page = loaded(found).page
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") != theme
        page.evaluate("likewise.panel.choose(5)")
        until(page, "document.querySelectorAll('#near .thumb').length === 12")
        page.locator("#pairs summary").click()
        until(page, "document.getElementById('pairs').dataset.made === 'yes'")
        assert page.locator("#pairs li").first.inner_text().startswith("copies")
        page.locator("#outliers summary").click()
        until(page, "document.getElementById('outliers').dataset.made === 'yes'")
        until(page, "document.querySelectorAll('#outliers .thumb').length === 24")
        drawn = "(c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
        until(page, drawn + "(document.querySelector('#near canvas')) > 4")
        assert barriers(page) == []
        assert found.requests == []
        assert found.errors == []


def test_a_selection_becomes_a_list_that_training_takes(small: Path, tmp_path: Path) -> None:
    with opened(small.as_uri()) as found:
        page = loaded(found).page
        page.fill("#search", "red/ class")
        until(page, "document.getElementById('matches').textContent === '20 of 60 images'")
        page.click("#take")
        with page.expect_download() as saved:
            page.click("#save")
        saved.value.save_as(tmp_path / "selection.csv")
        assert page.inner_text("#command") == ABOUT["command"]
        page.keyboard.press("Escape")
        page.click("#clear")
        page.click("#lasso")
        box = page.locator("#map").bounding_box()
        page.mouse.move(box["x"] + 1, box["y"] + 60)
        page.mouse.down()
        for x, y in ((0.99, 0.1), (0.99, 0.99), (0.01, 0.99)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        page.mouse.up()
        assert page.evaluate("likewise.state.pickedCount") > 40
        assert found.errors == []
    names = [f"{('red', 'green', 'blue')[number % 3]}/{number:06}.png" for number in range(60)]
    assert listed(names, tmp_path / "selection.csv").tolist() == list(range(0, 60, 3))


def test_the_map_is_gone_through_by_keys(small: Path) -> None:
    with opened(small.as_uri()) as found:
        page = loaded(found).page
        page.focus("#map")
        page.keyboard.press("ArrowRight")
        first = page.evaluate("likewise.state.current")
        page.keyboard.press("ArrowRight")
        second = page.evaluate("likewise.state.current")
        x = page.evaluate(f"[likewise.store.x[{first}], likewise.store.x[{second}]]")
        assert x[1] > x[0]
        assert page.inner_text("#status").endswith(".png")
        page.keyboard.press(" ")
        assert page.evaluate("likewise.state.picked[likewise.state.current]") == 1
        page.keyboard.press("n")
        assert page.evaluate("likewise.state.current") == page.evaluate(f"likewise.store.nearest[{second} * 12]")
        before = page.evaluate("likewise.view.scale")
        page.keyboard.press("+")
        assert page.evaluate("likewise.view.scale") > before
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "search"
        assert found.errors == []


@pytest.fixture
def served(tmp_path: Path, make_collection: MakeCollection) -> Iterator[str]:
    collection = make_collection(30)
    found = relate(collection, clusters=3)
    points = np.random.default_rng(0).uniform(0, 1, (30, 2)).astype(np.float32)
    made, slot = plan(collection, 10**6), slots(points)
    write_folder(tmp_path / "page", pack(collection, found, points, slot, made, ABOUT), sheets(collection, slot, made))
    with server(tmp_path / "page") as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield address(running)
        running.shutdown()
        thread.join()


def test_a_served_page_asks_for_its_sheets_alone(served: str) -> None:
    assert served.startswith("http://127.0.0.1:")
    with opened(served) as found:
        loaded(found)
        assert found.requests == [f"{served}sheets/0"]
        assert found.errors == []


def test_a_port_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with server(tmp_path) as running, pytest.raises(InputError, match="cannot be used"):
        server(tmp_path, running.server_address[1])
    with pytest.raises(InputError, match="allowed are 0"):
        server(tmp_path, 70_000)


MEASURE = """async () => {
  const {view, drawing} = likewise, frame = () => new Promise(done => requestAnimationFrame(done));
  const steps = {far: 1, zoom: 1.08, near: 1}, told = {};
  for (const [name, factor] of Object.entries(steps)) {
    drawing.times.length = 0;
    if (factor > 1) [view.x, view.y] = [likewise.store.x[0], likewise.store.y[0]];
    const began = performance.now();
    for (let at = 0; at < 40; at++) {
      if (factor > 1) view.zoom(factor); else view.move(at % 2 ? 9 : -7, 3);
      drawing.ask();
      await frame();
    }
    const sorted = [...drawing.times].sort((a, b) => a - b);
    told[name] = [40000 / (performance.now() - began), sorted[sorted.length >> 1], drawing.placed.length];
  }
  return {...told, heap: performance.memory.usedJSHeapSize / 1e6, sheets: likewise.sheets.held.size};
}"""


def test_a_hundred_thousand_images_move_smoothly(tmp_path: Path, make_collection: MakeCollection) -> None:
    count = 100_000
    collection = make_collection(count, side=4, classes=30)
    draw = np.random.default_rng(0)
    labels = collection.columns[0].values_N.astype(np.int64)
    centres = draw.uniform(0.1, 0.9, (30, 2))
    points = np.clip(centres[labels] + draw.normal(0, 0.05, (count, 2)), 0, 1).astype(np.float32)
    near = draw.integers(0, count, (count, 12))
    similarity = np.sort(draw.uniform(0, 1, (count, 12)).astype(np.float32))[:, ::-1]
    some = np.arange(400).reshape(200, 2)
    found = Relations(
        near,
        similarity,
        near,
        similarity,
        some,
        similarity[:200, 0],
        np.zeros(200, bool),
        some[:, 0],
        collection.columns,
    )
    made, slot = SheetPlan(24, count, 0), slots(points)
    one = next(sheets(collection, np.arange(count), made))
    size = write_page(tmp_path / "large.html", pack(collection, found, points, slot, made, ABOUT), [one] * made.sheets)
    with opened((tmp_path / "large.html").as_uri()) as page:
        loaded(page)
        told = page.page.evaluate(MEASURE)
        rates = "; ".join(
            f"{name} {told[name][0]:.0f} frames/s, {told[name][1]:.1f} ms a frame, {told[name][2]} thumbnails"
            for name in ("far", "zoom", "near")
        )
        print(f"\n100,000 images, {size / 1e6:.1f} MB: {rates}; heap {told['heap']:.0f} MB, {told['sheets']} sheets")
        assert all(told[name][1] < 50 for name in ("far", "zoom", "near")), "20 frames a second"
        assert told["sheets"] <= page.page.evaluate("likewise.sheets.most")
        assert page.requests == []
        assert page.errors == []
