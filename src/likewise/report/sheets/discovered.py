"""Discovered classes as a page: a description of each, its most typical and its most doubtful images."""

from __future__ import annotations

from likewise.data import Images
from likewise.discovery.finding import Class
from likewise.discovery.result import Discovery, shares
from likewise.discovery.scoring import PROTOCOL
from likewise.report.document import document
from likewise.report.markup import section, table, tag, text
from likewise.report.numbers import count, percent
from likewise.report.thumbnails import image

SIDE = 96
"""Points of a thumbnail."""
TYPICAL, DOUBTFUL = 6, 4
OLD_SHOWN = 60
"""Labelled classes whose images are shown; all stand in the table."""
STYLE = """
.found li{padding:16px 0;border-top:1px solid var(--line);display:grid;grid-template-columns:190px 1fr;gap:24px}
.found h3{margin:0 0 6px}.found .about{font-size:13px;line-height:1.5;color:var(--soft)}
.found .strip{display:grid;grid-template-columns:3fr 2fr;gap:28px}
.found .strip .row{display:grid;grid-template-columns:repeat(var(--n),minmax(0,1fr));gap:7px}
.found img{display:block;width:100%;height:auto;aspect-ratio:1;border-radius:5px;background:var(--line)}
.found h4{margin:0 0 6px;font-size:12px;font-weight:500;color:var(--soft)}
.found figcaption{font-size:11px;color:var(--soft);margin-top:3px;text-align:center}
@media(max-width:860px){.found li,.found .strip{grid-template-columns:1fr}}
"""


def discovered_sheet(images: Images, found: Discovery) -> str:
    """The page. `images` are those that `found` is about, row by row."""
    new, old = found.new, [one for one in found.classes if not one.is_new]
    body = "".join(
        [
            tag("style", STYLE),
            tag("header", tag("h1", "discovery"), tag("p", text(headline(found)), class_="headline")),
            _scores(found),
            section(
                "new",
                "Classes that no label names",
                "From the largest to the smallest. Left the images nearest to the centre of the class, right those "
                "that are least sure, with their confidence.",
                tag("ul", "".join(_class(images, found, one) for one in new), class_="found") if new else "",
            ),
            section(
                "old",
                "Classes that labels name",
                "" if len(old) <= OLD_SHOWN else f"The first {OLD_SHOWN} of {len(old)}; the table has all.",
                tag("ul", "".join(_class(images, found, one) for one in old[:OLD_SHOWN]), class_="found"),
            ),
            section("all", "All classes", "", _table(found)),
            _how(found),
        ]
    )
    return document("discovery, likewise", body, tag("footer", text(f"likewise, {found.data}")))


def headline(found: Discovery) -> str:
    """The result of the discovery, in a sentence."""
    old, new, unsure = shares(found)
    named = len(found.classes) - len(found.new)
    return (
        f"{count(found.unlabelled)} unlabelled images: {count(old)} in {named} named classes, {count(new)} in "
        f"{len(found.new)} new ones, {count(unsure)} not sure."
    )


def _scores(found: Discovery) -> str:
    parts = []
    if found.scores:
        head = ["score", "value", "95 % interval", "images"]
        rows = [
            [
                text(one.name),
                percent(one.value) if one.low is not None else f"{one.value:.3f}",
                "" if one.low is None or one.high is None else f"{percent(one.low)} to {percent(one.high)}",
                count(one.images),
            ]
            for one in found.scores
        ]
        parts.append(table(head, rows))
    if found.counted is not None:
        rows = [[name, str(one.classes), f"{one.low} to {one.high}"] for name, one in found.counted.estimates()]
        parts.append(tag("div", table(["number of classes by", "estimate", "interval"], rows), class_="apart"))
    back, hidden = found.found.recovered
    if hidden:
        words = f"{percent(back / hidden)} of labelled images came back into their class while their label was hidden."
        parts.append(tag("p", text(words), class_="note"))
    parts += [tag("p", text(note), class_="note") for note in found.notes]
    return section("scores", "How far to trust it", "", *parts)


def _class(images: Images, found: Discovery, one: Class) -> str:
    lines = [f"{count(one.images)} unlabelled images"]
    lines += [f"{count(one.unsure)} of them not sure"] if one.unsure else []
    lines += [f"{count(one.labelled)} labelled"] if one.labelled else []
    lines.append(f"coherence {one.coherence:.2f}")
    lines += [f"nearest named class: {one.nearest} ({one.nearness:.2f})"] if one.nearest else []
    about = tag("p", "<br>".join(map(text, lines)), class_="about")
    typical = "".join(_figure(images, int(at), f"{found.found.similarity[at]:.2f}") for at in one.typical[:TYPICAL])
    doubtful = "".join(
        _figure(images, int(at), percent(found.found.confidence[at], 0)) for at in one.doubtful[:DOUBTFUL]
    )
    strips = tag(
        "div",
        _row("most typical, cosine to the centre", typical, TYPICAL),
        _row("most doubtful, confidence", doubtful, DOUBTFUL) if doubtful else "",
        class_="strip",
    )
    return tag("li", tag("div", tag("h3", text(one.name)), about), strips)


def _row(title: str, figures: str, places: int) -> str:
    """Figures side by side, with room for so many."""
    return tag("div", tag("h4", text(title)), tag("div", figures, class_="row", style=f"--n:{places}"))


def _figure(images: Images, position: int, caption: str) -> str:
    name = str(images.names[position])
    return tag("figure", image(images, position, SIDE, name), tag("figcaption", text(caption)), title=name)


def _table(found: Discovery) -> str:
    head = ["class", "", "unlabelled", "not sure", "labelled", "coherence", "nearest named class", "cosine"]
    rows = [
        [
            text(one.name),
            "new" if one.is_new else "named",
            count(one.images),
            count(one.unsure),
            count(one.labelled),
            f"{one.coherence:.2f}",
            text(one.nearest or "-"),
            f"{one.nearness:.2f}" if one.nearest else "-",
        ]
        for one in found.classes
    ]
    return table(head, rows, "compared")


def _how(found: Discovery) -> str:
    words = [f"labels: {found.known.how}", found.protocol]
    words += [PROTOCOL] if found.scores else []
    words += [found.counted.protocol] if found.counted is not None else []
    words.append("coherence: mean cosine of two images of the class")
    lines = "".join(tag("li", text(one)) for one in words)
    return section("how", "How it was got", "", tag("ul", lines, class_="protocols"))
