"""Pages of search results and of duplicates: one file each, images inside it, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from likewise.data.decoding.decode import decode
from likewise.data.decoding.decoded import BrokenImage
from likewise.data.sources.files import read_bytes
from likewise.index.answers import Answer
from likewise.index.duplicates import Duplicates
from likewise.report.document import document
from likewise.report.markup import section, tag, text
from likewise.report.thumbnails import LARGE, data_uri

SIDE = 132
"""Points that an image is shown wide."""
MOST_GROUPS = 200
"""Groups of duplicates on a page."""
_STYLE = """<style>
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:18px 14px}
.sheet figure{min-width:0}.sheet img,.sheet .gone{display:block;width:100%;aspect-ratio:1;object-fit:cover;
border-radius:6px;background:var(--line)}.sheet figcaption{font-size:12.5px;line-height:1.35;margin-top:6px;
overflow-wrap:anywhere}.sheet .number{color:var(--soft)}.asked{margin-top:40px}
.group{margin-top:26px}.group h3{margin-bottom:8px}
</style>"""


def search_page(answer: Answer, where: str) -> str:
    """The query and what was found for it."""
    how = "Every row was compared." if answer.exact else f"Not every row was compared; recall {answer.recall:.4f}."
    query = figure(answer.query, text("query")) if _is_file(answer.query) else ""  # else a row, or words
    hits = [figure(hit.path, text(hit.id), tag("div", f"{hit.similarity:.4f}", class_="number")) for hit in answer.hits]
    asked = tag("div", query, class_="sheet asked") if query else ""
    words = f"{len(answer.hits)} of {where}, nearest first, by cosine similarity. {how}"
    body = _STYLE + asked + section("results", f"Most like {Path(answer.query).name}", words, sheet(hits))
    return document(f"search in {Path(where).name}, likewise", body, footer(answer.fingerprint))


def duplicates_page(found: Duplicates) -> str:
    """The groups, a row of images each."""
    groups = [
        tag(
            "div",
            tag("h3", text(f"{group.kind}, {len(group.items)} images") + (" across splits" if group.across else "")),
            sheet([figure(item.path, text(item.id), _split(item.split)) for item in group.items]),
            class_="group",
        )
        for group in found.groups[:MOST_GROUPS]
    ]
    more = len(found.groups) - len(groups)
    words = found.summary() + (f" The first {len(groups)} groups are shown." if more > 0 else "")
    body = _STYLE + section("duplicates", "Duplicates", words, *(groups or [tag("p", "None were found.")]))
    return document("duplicates, likewise", body, footer(found.fingerprint))


def sheet(figures: Sequence[str]) -> str:
    """Images side by side."""
    return tag("div", *figures, class_="sheet")


def figure(path: str, *caption: str) -> str:
    """An image with words below; a grey square where it is not there any more."""
    found = thumbnail(path)
    shown = tag("div", class_="gone", title="the image is not there") if found is None else image_tag(found, path)
    return tag("figure", shown, tag("figcaption", *caption))


def image_tag(image: Image.Image, said: str) -> str:
    """An image inside the page."""
    return f'<img src="{data_uri(image)}" width="{SIDE}" height="{SIDE}" loading="lazy" alt="{text(Path(said).name)}">'


def thumbnail(path: str) -> Image.Image | None:
    """The middle square of an image file, small; None where there is none that can be read."""
    if not _is_file(path):
        return None
    try:
        whole = Image.fromarray(decode(read_bytes(path), LARGE))
    except BrokenImage:
        return None
    edge = min(whole.size)
    left, top = (whole.width - edge) // 2, (whole.height - edge) // 2
    side = min(LARGE, edge)
    return whole.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))


def _is_file(path: str) -> bool:
    try:
        return bool(path) and Path(path).is_file()
    except OSError:  # words that are longer than the name of a file can be
        return False


def footer(fingerprint: str) -> str:
    """The last line."""
    return tag("footer", tag("p", f"space {text(fingerprint)}", class_="small"))


def _split(split: str) -> str:
    return tag("div", text(split), class_="number") if split else ""
