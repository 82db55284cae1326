"""The documentation as a site: every link leads somewhere, and nothing is fetched from anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import barriers, opened

ROOT = Path(__file__).resolve().parents[2]
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc="(?:https?:)?//'
    r'|<link[^>]*rel="(?:stylesheet|preconnect|preload|icon)"[^>]*href="(?:https?:)?//'
)


@pytest.mark.slow
def test_the_site_is_whole_and_offline(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not FETCHED.search(text), page
    api = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "likewise.verbs.looking.explore.explore" in api
    for name, theme in (("index.html", "light"), ("methods/isd.html", "dark")):
        with opened((tmp_path / "site" / name).as_uri(), theme=theme) as seen:
            assert barriers(seen.page) == []
            assert [one for one in seen.requests if one.startswith("http")] == []
            assert seen.page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
