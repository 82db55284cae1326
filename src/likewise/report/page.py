"""The report page: all sections in order, in one self-contained file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.source import spread
from likewise.errors import InputError
from likewise.files import write_aside
from likewise.report import map2d, neighbours, sections
from likewise.report.document import document
from likewise.report.facts import RunFacts
from likewise.report.markup import section, tag
from likewise.report.mistakes import Judged, mistakes
from likewise.report.places import PlaceFeatures, masks, patches

SHOWN = 1500
"""Images that the map and the neighbours are made of at most."""


@dataclass(frozen=True)
class Evaluated:
    """The images that an encoder was evaluated on."""

    images: Images
    features: Tensor
    """(N, F), a row for each image."""
    which: str
    """Whose features they are."""
    data: str
    """Path or name of the data."""
    split: str
    """As in a score: `test`, `held out`, ..."""


def write_report(
    run: Path,
    *,
    images: Images | None = None,
    features: Tensor | None = None,
    which: str = "student",
    evaluated: Evaluated | None = None,
    judged: Judged | None = None,
    looked: PlaceFeatures | None = None,
) -> Path:
    """Write report.html into the run directory `run`, and return its path.

    With the `images` that the run learned from and their `features` (N, F), of the encoder `which`, it shows neighbours
    and a map of at most `SHOWN` of them; both are left out where the features are not finite, as of a run that
    diverged. They are kept in the run (pictures.html), and shown again by a report that is written without. So is what
    is shown of an evaluation: neighbours and a map of the images that were `evaluated` (evaluated.html), and the
    mistakes of what was `judged` (mistakes.html), and so are the patches of what was `looked` at (patches.html). The
    page is one file that opens offline.

    Raises InputError where there is no run, and where images and features do not fit.
    """
    facts = RunFacts.read(Path(run))
    kept, given = Path(run) / "pictures.html", images is not None and features is not None
    image_parts, said = kept.read_text(encoding="utf-8") if not given and kept.exists() else "", ""
    if images is not None and features is not None:
        if len(images) != len(features):
            raise InputError(f"the report got {len(images)} images and features of {len(features)}: one row each")
        images, features = _sample(images, features.detach().float().cpu())
        if bool(torch.isfinite(features).all()):
            image_parts = _image_parts(images, features, which)
            with write_aside(kept) as file:
                file.write(_encoded(image_parts))
        else:
            kept.unlink(missing_ok=True)
            said = tag("p", "No neighbours and no map: the encoder's features are not finite numbers.", class_="note")
    body = "".join(
        [
            sections.masthead(facts),
            said,
            image_parts,
            sections.scores(facts),
            sections.anchored(facts),
            _evaluated(Path(run) / "evaluated.html", evaluated),
            _mistakes(Path(run) / "mistakes.html", judged),
            _places(Path(run) / "patches.html", looked),
            sections.training(facts),
            sections.time_spent(facts),
            sections.data(facts, images),
            sections.settings(facts),
            sections.repeat(facts),
        ]
    )
    path = Path(run) / "report.html"
    with write_aside(path) as file:
        title = f"{facts.path.name}, likewise"
        file.write(_encoded(document(title, body, sections.footer(facts))))
    return path


def _evaluated(kept: Path, evaluated: Evaluated | None) -> str:
    """Neighbours and map of the images of an evaluation: that of now, or else the newest that is known."""
    if evaluated is None:
        return kept.read_text(encoding="utf-8") if kept.exists() else ""
    images, features = _sample(evaluated.images, evaluated.features.detach().float().cpu())
    if len(images) < 2 or not bool(torch.isfinite(features).all()):
        kept.unlink(missing_ok=True)
        return ""
    grid = neighbours.grid(images, features)
    shown = section(
        "evaluated",
        "The evaluated images",
        f"{evaluated.data}, {evaluated.split}: what the encoder was judged by. {neighbours.lead(images, features)}",
        grid,
        tag("h3", "Their map", class_="apart"),
        map2d.image_map(images, features),
    )
    with write_aside(kept) as file:
        file.write(_encoded(shown))
    return shown


def _mistakes(kept: Path, judged: Judged | None) -> str:
    """Where a classification went wrong: that of now, or else the newest that is known."""
    if judged is None:
        return kept.read_text(encoding="utf-8") if kept.exists() else ""
    shown = mistakes(judged)
    with write_aside(kept) as file:
        file.write(_encoded(shown))
    return shown


def _places(kept: Path, looked: PlaceFeatures | None) -> str:
    """Patches that are alike, and masks: those of now, or else the newest that are known."""
    if looked is None:
        return kept.read_text(encoding="utf-8") if kept.exists() else ""
    shown = patches(looked) + masks(looked)
    with write_aside(kept) as file:
        file.write(_encoded(shown))
    return shown


def _encoded(page: str) -> bytes:
    """UTF-8. Names of files need not be text; what is not becomes a question mark."""
    return page.encode("utf-8", errors="replace")


def _sample(images: Images, features_NF: Tensor) -> tuple[Images, Tensor]:
    if len(images) <= SHOWN:
        return images, features_NF
    index = spread(len(images), SHOWN)
    return images.subset(index), features_NF[torch.from_numpy(index)]


def _image_parts(images: Images, features_NF: Tensor, which: str) -> str:
    grid = neighbours.grid(images, features_NF)
    alike = neighbours.lead(images, features_NF) if grid else ""
    return section("neighbours", "What it finds alike", alike, grid) + section(
        "map",
        "The collection at a glance",
        f"What the encoder learned from. Images close together are close for the {which}.",
        map2d.image_map(images, features_NF),
    )
