"""The HTML document around a page's sections: one self-contained file."""

from __future__ import annotations

from likewise.report.markup import tag, text
from likewise.report.style import PATCHES, PATCHES_STYLE, SCRIPT, STYLE


def document(title: str, body: str, footer: str) -> str:
    """The page with `title`, which is plain text; `body` and `footer` are markup."""
    bar = tag(
        "nav",
        tag("span", "likewise", class_="mark"),
        tag("button", "dark", type="button", class_="theme", aria_label="switch between light and dark"),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}{PATCHES_STYLE}</style></head><body>"
        f"{bar}{tag('main', body)}{footer}<script>{SCRIPT}{PATCHES}</script></body></html>\n"
    )
