"""Broken files are found by their first and last bytes, all of them, and whole ones are not called broken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.data import describe, open_source
from likewise.data.decoding.headers import check_headers
from likewise.data.source import Joined
from tests.data.images import noise

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
ENDINGS = {"JPEG": ".jpg", "TIFF": ".tif"}


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(61, 75)).save(file, form)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each format a whole file and three that were cut; an empty one, one of words, a link that leads nowhere."""
    root = tmp_path_factory.mktemp("mixed") / "photos"
    root.mkdir()
    for form in FORMATS:
        whole, ending = encoded(form), ENDINGS.get(form, f".{form.lower()}")
        (root / f"whole-{form}{ending}").write_bytes(whole)
        for cut in (0.97, 0.5, 0.05):
            (root / f"cut-{form}-{cut}{ending}").write_bytes(whole[: int(cut * len(whole))])
    (root / "trailing.jpg").write_bytes(encoded("JPEG") + b"\0" * 64)
    (root / "cut-empty.jpg").write_bytes(b"")
    (root / "cut-words.png").write_text("not an image")
    (root / "cut-link.png").symlink_to(root / "nowhere.png")
    return root


def test_every_broken_file_is_found_and_no_whole_one(folder: Path) -> None:
    source = open_source(folder)
    found = check_headers(source)
    assert found.looked == len(source) == 4 * len(FORMATS) + 4
    assert [entry.name for entry in found.broken] == [name for name in source.names if name.startswith("cut")]
    assert all(entry.reason for entry in found.broken)
    assert len(found.broken) == 3 * len(FORMATS) + 3


def test_whole_files_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(folder)
    looked: list[str] = []
    whole = type(source).look

    def look(self: object, position: int) -> object:
        looked.append(source.names[position])
        return whole(self, position)  # type: ignore[arg-type]

    monkeypatch.setattr(type(source), "look", look)
    check_headers(source)
    assert sorted(looked) == sorted(name for name in source.names if name.startswith("cut"))


def test_parts_and_sums_of_sources_are_looked_at_and_arrays_are_not(folder: Path) -> None:
    source = open_source(folder)
    names = [entry.name for entry in check_headers(source).broken]
    twice = check_headers(Joined.of([source, source.sample(5)]))
    assert twice.looked == len(source) + 5
    assert [entry.name for entry in twice.broken][: len(names)] == names
    assert check_headers(open_source(np.zeros((4, 8, 8, 3), np.uint8))).looked == 0


def test_the_text_names_them_and_how_many_were_looked_at(folder: Path) -> None:
    text = str(describe(open_source(folder), sample=1000))
    assert "24 of 32 looked at" in text
    assert "cut-JPEG-0.5.jpg (" in text
    assert "and 4 more" in text
