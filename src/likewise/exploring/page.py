"""The HTML page of a map: one self-contained file, or a folder to be served where it would be too large."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from likewise.exploring.payload import Payload, as_json
from likewise.files import write_aside
from likewise.report.markup import text

STYLES = ("page.css", "parts.css")
SCRIPTS = ("store.js", "map.js", "drawing.js", "parts.js", "panel.js", "main.js")
"""Files of the package, in the order in which they are needed."""
SHEETS = "sheets"
"""Folder of the sheets beside a page that is served."""
_INSIDE = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_SERVED = f"{_INSIDE}; connect-src 'self'"


def asset(name: str) -> str:
    """A file of the page, as it lies in the package."""
    return resources.files("likewise.exploring").joinpath("assets", name).read_text(encoding="utf-8")


def write_page(path: Path, payload: Payload, sheets: Iterable[bytes]) -> int:
    """Write the page with its sheets inside. Returns its size in bytes. Its policy allows it no request at all."""
    with write_aside(path) as file:
        file.write(_head(payload, _INSIDE).encode("utf-8", "replace"))
        for number, content in enumerate(sheets):
            file.write(f'<script type="text/plain" id="sheet{number}">'.encode())
            file.write(base64.b64encode(content))
            file.write(b"</script>\n")
        file.write(_foot().encode())
    return path.stat().st_size


def write_folder(folder: Path, payload: Payload, sheets: Iterable[bytes]) -> int:
    """Write index.html and its sheets as files into `folder`. Returns the size of both in bytes."""
    (folder / SHEETS).mkdir(parents=True, exist_ok=True)
    size = 0
    for number, content in enumerate(sheets):
        with write_aside(folder / SHEETS / str(number)) as file:
            file.write(content)
        size += len(content)
    page = (_head(payload, _SERVED) + _foot()).encode("utf-8", "replace")
    with write_aside(folder / "index.html") as file:
        file.write(page)
    return size + len(page)


def _head(payload: Payload, policy: str) -> str:
    styles = "".join(asset(name) for name in STYLES)
    body = asset("body.html").replace("{{title}}", text(payload.facts["title"]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{text(payload.facts['title'])}, likewise</title><style>{styles}</style></head><body>\n{body}\n"
        f'<script type="application/json" id="facts">{as_json(payload.facts)}</script>\n'
        f'<script type="text/plain" id="names">{payload.names}</script>\n'
        f'<script type="text/plain" id="arrays">{payload.arrays}</script>\n'
    )


def _foot() -> str:
    return f"<script>{''.join(asset(name) for name in SCRIPTS)}</script></body></html>\n"
