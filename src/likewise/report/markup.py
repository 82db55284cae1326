"""Helpers that write HTML. Text from outside passes through `text`."""

from __future__ import annotations

import html
from collections.abc import Iterable


def text(value: object) -> str:
    """`value` as text that cannot be taken for markup, in content and in attributes alike."""
    return html.escape(str(value), quote=True)


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element. `content` is markup already; attribute values are escaped; `_` in attribute names means `-`.

    A trailing underscore is dropped (`class_`), None leaves an attribute out, True writes it without a value.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return f"<{name}{written}>{''.join(content)}</{name}>"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], class_: str = "") -> str:
    """A table of markup."""
    top = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = "".join(tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    return tag("div", tag("table", tag("thead", top), tag("tbody", body), class_=class_ or None), class_="scroll")


def details(summary: str, content: str) -> str:
    """Content that is folded away until it is asked for."""
    return tag("details", tag("summary", text(summary)), content)


def command(line: str) -> str:
    """A command to type, with a button that copies it."""
    button = tag("button", "copy", type="button", class_="copy", data_copy=line, aria_label="copy the command")
    return tag("div", tag("code", text(line)), button, class_="command")


def section(name: str, title: str, lead: str, *content: str) -> str:
    """A part of the page; nothing where it has no content. `title` and `lead` are plain words."""
    inside = "".join(content)
    if not inside:
        return ""
    head = tag("h2", text(title)) + (tag("p", text(lead), class_="lead") if lead else "")
    return tag("section", tag("div", head, class_="head"), inside, id=name)
