"""A page in headless Chromium, what it asks of the network, and what axe-core finds on it.

Skipped where there is no Chromium.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest


@dataclass
class Opened:
    """An open page."""

    page: Any
    """Playwright's page."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, but the page's own."""
    errors: list[str] = field(default_factory=list)
    """Errors of its scripts."""


def until(page: Any, expression: str, seconds: float = 30.0) -> None:
    """Wait until an expression is true. Playwright's own way needs `eval`, which a page's policy may forbid."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} seconds: {expression}")
        page.wait_for_timeout(30)


@contextlib.contextmanager
def opened(address: str, *, width: int = 1280, height: int = 900, theme: str = "light") -> Iterator[Opened]:
    """The page at `address`, with no cache, and closed afterwards. Skips the test without Playwright or Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        found = Opened(page)
        page.on("request", lambda one: one.url != address and found.requests.append(one.url))
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        page.on("console", lambda said: said.type == "error" and found.errors.append(said.text))
        page.goto(address)
        try:
            yield found
        finally:
            browser.close()


def barriers(page: Any) -> list[str]:
    """What axe-core finds serious or critical on a page as it is now: names, roles, contrast, keyboard.

    The script is that of axe-playwright-python, which this skips without; axe-core itself is MPL-2.0, and only run.
    """
    pytest.importorskip("axe_playwright_python")
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(script + "; undefined")
    found = page.evaluate("axe.run().then(told => told.violations)")
    return [
        f"{one['id']}: {one['help']}: " + "; ".join(node["html"][:120] for node in one["nodes"][:4])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


@pytest.fixture
def chromium() -> Iterator[Any]:
    """Chromium by playwright, which cannot run twice in a process at once; skipped where either is missing."""
    api = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A new page; `page.requested` lists the addresses of all requests, `page.complaints` what its script threw."""
    opened = chromium.new_page()
    opened.requested, opened.complaints = [], []
    opened.on("request", lambda request: opened.requested.append(request.url))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    opened.close()
