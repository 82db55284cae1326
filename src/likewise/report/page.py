"""`write_report`: from a run directory to one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import likewise
from likewise.report import pictures, recipe, sections, style, training
from likewise.report.facts import Facts, gather
from likewise.report.text import escape
from likewise.training.files import write_aside
from likewise.training.run import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor

    from likewise.data import Images


def write_report(run: Path, *, images: Images | None = None, features: Tensor | None = None) -> Path:
    """Write RUN/report.html, one file that loads nothing else, and return its path.

    `images` are the N pictures to show and `features` (N, F) what the encoder makes of them; with both the report
    shows nearest neighbours and a map. These are kept in RUN/pictures.json.gz, so that a report written later without
    pictures, when there are scores say, shows them still. What is missing in the run directory is left out.

    Raises InputError where `run` is no run directory, and ValueError where there is not one row of features a picture.
    """
    if images is not None and features is not None and (features.ndim != 2 or len(features) != len(images)):
        raise ValueError(f"features {tuple(features.shape)} do not fit {len(images)} pictures: one row each is needed")
    directory = RunDirectory.open(run)
    if images is not None and len(images):
        pictures.keep(directory.path, pictures.show(images, features))
    facts = gather(directory.path, pictures.kept(directory.path))
    with write_aside(directory.report_file) as file:
        file.write(page(facts).encode("utf-8", errors="replace"))
    return directory.report_file


def page(facts: Facts) -> str:
    """The whole document."""
    body = "".join(
        (
            sections.header(facts),
            sections.tiles(facts),
            sections.neighbours(facts),
            sections.picture_map(facts),
            sections.scores(facts),
            training.curves(facts),
            training.health_and_time(facts),
            recipe.classes(facts),
            recipe.broken(facts),
            recipe.settings(facts),
            recipe.commands(facts),
            _footer(facts),
        )
    )
    title = f"{facts.title} on {facts.part('data').get('name', 'pictures')}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{style.CSS}</style>\n</head>\n"
        f'<body>\n<main>{body}</main>\n<div id="tip" role="status"></div>\n<script>{style.SCRIPT}</script>\n</body>\n</html>\n'
    )


def _footer(facts: Facts) -> str:
    paper = f"{escape(facts.paper)}<br>" if facts.paper else ""
    version = escape(facts.run.get("likewise", likewise.__version__))
    return f"<footer>{paper}Made with likewise {version}. This file loads nothing from elsewhere.</footer>"
