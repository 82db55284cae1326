"""`likewise.select`: selects images to label, before any label exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from likewise.commands import command
from likewise.data import Source, open_source
from likewise.errors import InputError, unknown
from likewise.evaluation.encoder_source import Run, Subject, Which
from likewise.files import check_ending, check_targets, write_aside
from likewise.index.embedding.held import is_held, subject_of
from likewise.report.sheets.contact_sheet import SheetImage, contact_sheet
from likewise.selection import usl_t
from likewise.selection.comparing import TRAINED, foretold, measured_by, rows_of
from likewise.selection.exchange import Pick, beside, check_endings, write_cvat, write_label_studio, write_picks
from likewise.selection.picking import STRATEGIES, Picks, pick
from likewise.selection.pool import Pool, recipe
from likewise.selection.proof import Expected, LabelledScore
from likewise.verbs.labelling.embedded import Embedded, embed, opened


@dataclass(frozen=True)
class Selection:
    """The selected images, and the quality of the selection."""

    out: Path
    """The list that was written."""
    by: str
    """The strategy."""
    picks: list[Pick]
    """In the order of the list."""
    images: int
    """How many were chosen from."""
    covered: int
    """How many of them were labelled already, or are copies of such images."""
    rests_on: str
    """What the expected figures assume."""
    expected: dict[str, Expected]
    """1-NN accuracy of each strategy at this budget, from the features alone; empty where it was not asked for."""
    measured: dict[str, LabelledScore]
    """By the true labels, where these were given; of `random` the mean over draws."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know."""

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return {
            "out": str(self.out),
            "by": self.by,
            "images": self.images,
            "covered": self.covered,
            "picks": [{**one._asdict(), "path": str(one.path)} for one in self.picks],
            "rests_on": self.rests_on,
            "expected": {name: one.to_json() for name, one in self.expected.items()},
            "measured": {name: one.to_json() for name, one in self.measured.items()},
            "notes": self.notes,
        }

    def following(self) -> str:
        """The command to type next."""
        return command("label", self.out)


def select(
    run: Run,
    data: Any = None,
    *,
    labels: int,
    by: str = "usl",
    out: str | Path,
    given: str | Path | None = None,
    split: str | None = None,
    variant: str = "small",
    classes: int | None = None,
    expected: bool = True,
    evaluate: bool = False,
    truth: str | None = None,
    html: str | Path | None = None,
    label_studio: str | Path | None = None,
    cvat: str | Path | None = None,
    which: Which | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Selection:
    """Pick exactly `labels` different images of `data` to have labelled, and write them to `out` (CSV).

    `run` and `data` are as for `likewise.evaluate`; labels are not opened before the picks are fixed. `by` is `usl` (by
    the published settings of `variant`), `typical`, `coverage`, `random`, or `usl_t` where `run` is one of that method.
    Images with a label in `given`, and copies of them, are not picked again. Images that are no files, as in Parquet,
    are written beside `out` as PNG.
    `expected` adds what each strategy should bring if there are `classes` classes (by default one for four labels);
    `evaluate` what it brings by the labels `truth` of the data.

    Raises InputError for a run, data, strategy or variant that does not exist, for fewer than 1 or more labels than
    there are images left, where `out` exists, and for files of other tools that these would not know by their ending.
    """
    _check_strategy(by, given)
    settings, out = recipe(variant), Path(out)
    check_ending(out, ".csv")
    check_endings({"label_studio": label_studio, "cvat": cvat})
    check_targets([Path(one) for one in (out, html, label_studio, cvat) if one is not None], overwrite=overwrite)
    subject = subject_of(run, which, pretrained=pretrained, image_size=image_size)
    data = (run if is_held(run) else subject.default_data()) if data is None else data
    pool_of = embed(subject, opened(data, split, "none"), cache_dir=cache_dir, quiet=quiet)
    covered = None if given is None else _labelled(subject, given, cache_dir, quiet)
    pool = _pool(pool_of, covered, settings)
    found = pick(pool, labels, by, seed=seed) if by != TRAINED else _trained(subject, pool_of, labels)
    notes = _notes(pool, labels)
    strategies = rows_of(pool, labels, by, found, seed)
    basis, worth = foretold(pool, labels, strategies, classes, seed) if expected else ("", {})
    measured = measured_by(pool, _true(pool, pool_of, opened(data, split, truth)), strategies, seed) if evaluate else {}
    picks = _described(pool_of, pool, found, out)
    write_picks(out, picks)
    result = Selection(
        out, by, picks, len(pool_of.images), int(pool.covered_N[: len(pool_of.images)].sum()),
        basis, worth, measured, notes,
    )  # fmt: skip
    notes += _exported(picks, label_studio, cvat)
    if html is not None:
        _write_page(Path(html), result, pool_of, found)
    return result


def _check_strategy(by: str, given: str | Path | None) -> None:
    """Raise InputError for a strategy that does not exist, or knows no rounds."""
    if by not in (*STRATEGIES, TRAINED):
        raise unknown("strategy", by, (*STRATEGIES, TRAINED))
    if by == TRAINED and given is not None:
        raise InputError(f"by={by} picks from all images at once: leave --given out, or choose usl for rounds")


def _exported(picks: Sequence[Any], label_studio: str | Path | None, cvat: str | Path | None) -> list[str]:
    """Write the files for other labelling tools that are asked for, and say what their names are relative to."""
    asked = ((label_studio, write_label_studio), (cvat, write_cvat))
    return [f"{path}: names are relative to {write(Path(path), picks)}" for path, write in asked if path is not None]


def _trained(subject: Subject, pool_of: Embedded, labels: int) -> Picks:
    """What a run of USL-T picks. Raises InputError where it is none."""
    if subject.run is None:
        raise InputError(f"by={TRAINED} needs a run of usl_t: likewise recipes usl_t trains one from another run")
    return usl_t.picks(subject.run, pool_of.images, labels)


def _labelled(subject: Subject, given: str | Path, cache_dir: Path | None, quiet: bool) -> Embedded:
    """The images of a list that have a label. Raises InputError where none has."""
    source = open_source(given)
    if source.labels is None or not (source.labels >= 0).any():
        raise InputError(f"{given} has no labels: --given takes a list with them, such as likewise label writes")
    found = embed(subject, source, cache_dir=cache_dir, quiet=quiet)
    assert found.images.labels is not None
    known = np.flatnonzero(found.images.labels >= 0)
    if not len(known):
        raise InputError(f"no image of {given} that has a label can be read")
    return found.part(known)


def _pool(pool_of: Embedded, covered: Embedded | None, settings: Any) -> Pool:
    """All images, and behind them the labelled ones that are not among them."""
    count = len(pool_of.images)
    digests, features = pool_of.images.digests, pool_of.features_NF
    covered_N = torch.zeros(count, dtype=torch.bool)
    if covered is not None:
        covered_N = torch.from_numpy(np.isin(digests, covered.images.digests))
        others = np.flatnonzero(~np.isin(covered.images.digests, digests))
        digests = np.concatenate([digests, covered.images.digests[others]])
        features = torch.cat([features, covered.features_NF[torch.from_numpy(others)]])
        covered_N = torch.cat([covered_N, torch.ones(len(others), dtype=torch.bool)])
    content = np.unique(digests, return_inverse=True)[1].astype(np.int64)
    return Pool(features, covered_N, content, settings)


def _notes(pool: Pool, labels: int) -> list[str]:
    if pool.different < labels:
        return [f"only {pool.different:,} images are different: the other picks are exact copies of picks"]
    return []


def _true(pool: Pool, pool_of: Embedded, truth: Source) -> Tensor:
    """(N,) the true class of each image of the pool, -1 where unknown; the labels are opened only now."""
    if truth.labels is None:
        raise InputError(f"{truth.name} has no labels to evaluate by: name them with --truth, a column or 'folders'")
    labels_N = torch.full((len(pool),), -1, dtype=torch.int64)
    labels_N[: len(pool_of.images)] = torch.from_numpy(truth.labels[pool_of.rows])
    return labels_N


def _described(pool_of: Embedded, pool: Pool, found: Picks, out: Path) -> list[Pick]:
    """The picks with their files; images that are none are written beside the list."""
    picks = []
    folder = out.with_name(f"{out.stem}-images")
    for row, reason, cluster in zip(found.rows.tolist(), found.reasons, found.cluster.tolist(), strict=True):
        look = pool_of.source.look(int(pool_of.rows[row]))
        place = pool_of.path(row)
        path = _saved(pool_of, row, folder) if place is None else Path(place).absolute()
        picks.append(Pick(path, reason, cluster, float(pool.density_N[row]), look.width, look.height))
    return picks


def _saved(pool_of: Embedded, row: int, folder: Path) -> Path:
    """One image as a PNG file named after its row in the data."""
    folder.mkdir(exist_ok=True)
    position = int(pool_of.rows[row])
    path = folder.absolute() / f"{position:07}.png"
    with write_aside(path) as file:
        Image.fromarray(pool_of.source.read(position)).save(file, "PNG")
    return path


def figures(result: Selection) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table of strategies: what to expect, and what came of it where that is known."""
    head = ["strategy", "expected", "95 %", "classes met"]
    if result.measured:
        head += ["1-NN", "linear", "classes", "std"]
    rows = []
    for name in result.expected or result.measured:
        line = [f"{name} (chosen)" if name == result.by else name]
        one = result.expected.get(name)
        if one is None:
            line += ["", "", ""]
        else:
            line += [_share(one.accuracy), f"{_share(one.low)} to {_share(one.high)}", _share(one.covered)]
        if (real := result.measured.get(name)) is not None:
            linear = "-" if real.linear is None else _share(real.linear)
            line += [_share(real.nearest), linear, f"{real.classes} of {real.of_classes}", f"{real.spread:.2f}"]
        rows.append(line)
    return head, rows


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _write_page(path: Path, result: Selection, pool_of: Embedded, found: Picks) -> None:
    """The contact sheet."""
    shown = [
        SheetImage(row, beside(one.path, result.out.parent), one.reason, one.cluster)
        for row, one in zip(found.rows.tolist(), result.picks, strict=True)
    ]
    headline = f"{len(result.picks):,} of {result.images:,} images to label, picked by {result.by}."
    before = f" {result.covered:,} were labelled before." if result.covered else ""
    lead = f"In the order of {result.out.name}.{before} The tip of an image says why it was picked."
    head, rows = figures(result)
    table = (head, rows, f"1-NN accuracy over {result.rests_on}." if result.rests_on else "")
    page = contact_sheet(pool_of.images, shown, headline, lead, table, result.following())
    with write_aside(path) as file:
        file.write(page.encode("utf-8", "surrogateescape"))
