"""`likewise.discover`: known and new classes among unlabelled images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from likewise.data import Images, Source
from likewise.data.source import Part
from likewise.data.texts import texts_of as captions_of
from likewise.discovery import finding, scoring
from likewise.discovery.counting import Counted, count_classes
from likewise.discovery.known import Known, by_draw, by_list, by_source
from likewise.discovery.naming import called, cluster_names
from likewise.discovery.result import Discovery
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, Subject, Which
from likewise.files import check_ending, check_folder, write_aside
from likewise.index.embedding.held import is_held, subject_of
from likewise.methods.words import images_of, texts_of, with_words
from likewise.report.sheets.discovered import discovered_sheet
from likewise.runs import RunDirectory
from likewise.similarity import unit
from likewise.similarity.nearest import check_features
from likewise.training.watching.progress import decoding
from likewise.verbs.labelling.embedded import Embedded, embed, opened

SURE = 0.7
"""Least confidence of an image that is sure."""
_FEWEST_BACK = 0.5
_SEEDED = {
    "greedy": "scaled by the spread within labelled classes, greedy k-means++, centres of unit length",
    "published": "published k-means++",
}


def discover(
    run: Run,
    data: Any = None,
    *,
    labelled: str | Path | None = None,
    subset: str | None = None,
    subset_seed: int = 0,
    classes: int | Literal["auto"] = "auto",
    most: int | None = None,
    seeding: finding.Seeding = "greedy",
    sure: float = SURE,
    captions: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    which: Which | None = None,
    labels: str | None = None,
    split: str | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Discovery:
    """Sort all images of `data` into the classes that some of them are labelled with, and into new ones.

    By semi-supervised k-means on unit features (GCD, arXiv 2201.02609, section 3.2). Which labels are known: those of
    the table `labelled` (path, label), those that the draw `subset` leaves, those of the draw that the run was trained
    on, or those of the data where it lacks some. All other labels of the data (`labels`, as everywhere) are used for
    scores alone. `classes` is the number of all classes, or `auto`: estimated up to `most`. `seeding` is how first
    centres of new classes are drawn. An image is sure from the confidence `sure` on.

    `captions` names a column of captions (`caption` finds the usual ones): new classes are then called by the caption
    that fits their images most beyond what fits all images, as the run's text side has it.

    `out` is a table (CSV) with path, label, guess, confidence and kind of each image, and beside it a page with the
    same name shows the classes. `run`, `which`, `pretrained` and `image_size` are as for `evaluate`; an index may stand
    in place of `run`, for its encoder, and of `data`, for its images and their vectors.

    Raises InputError for runs, data, lists and draws that do not exist, no label, nothing but labelled images, a number
    of classes that cannot be, features that are not finite, captions that are not there or a run that reads none, and a
    file at `out` unless `overwrite`.
    """
    _check(labelled, subset, classes, sure)
    targets = _targets(out, overwrite=overwrite)
    subject = subject_of(run, which, pretrained=pretrained, image_size=image_size)
    speaking = None if captions is None else _speaking(subject)
    data = (run if is_held(run) else subject.default_data()) if data is None else data
    own = labels if labels is not None else subject.labels_for(data)
    source = opened(data, split, own, () if captions is None else (captions,))
    known = _known(subject, source, labelled, subset, subset_seed, is_own=subject.learned_from(data))
    found = embed(subject, known.source, cache_dir=cache_dir, quiet=quiet)
    check_features("clustered", found.features_NF)
    asked = _Asked(classes, most, seeding, sure, seed, quiet)
    name = str(data) if isinstance(data, str | Path) else found.images.name
    result = _discovered(subject, name, found.images, _readable(known, found), unit(found.features_NF), asked)
    if speaking is not None and captions is not None:
        result = _named(result, speaking, found.images, captions, found.features_NF)
    if targets is not None:
        _write_both(targets, found.images, result)
    return result


class _Asked(NamedTuple):
    """What was asked for of the clustering."""

    classes: int | Literal["auto"]
    most: int | None
    seeding: finding.Seeding
    sure: float
    seed: int
    quiet: bool


def _discovered(
    subject: Subject, data: str, images: Images, known: Known, features_NF: Tensor, asked: _Asked
) -> Discovery:
    """Count the classes where that is wanted, find them, describe and score them."""
    seed, counted = asked.seed, None
    if asked.classes == "auto":
        with decoding(images.name, enabled=not asked.quiet, verb="count classes of") as progress:
            counted = count_classes(features_NF, known.labels, most=asked.most, seed=seed, tell=progress)
    number = counted.chosen.classes if counted is not None else int(asked.classes)
    with decoding(images.name, enabled=not asked.quiet, verb="cluster") as progress:
        found = finding.find(features_NF, known.labels, number, seeding=asked.seeding, seed=seed, tell=progress)
    sure_N = found.confidence >= asked.sure
    scores = [] if known.truth is None else scoring.score(known.truth, known.labels, found.clusters, sure_N)
    return Discovery(
        known=known,
        places=[known.source.file(at) for at in range(len(known.labels))],
        found=found,
        classes=finding.describe(found, features_NF, known.labels, known.names, asked.sure),
        scores=scores,
        counted=counted,
        sure=asked.sure,
        data=data,
        run=subject.path,
        protocol=_protocol(number, subject, seeding=asked.seeding, seed=seed),
        notes=_notes(known, found, counted, subject, images),
    )


def _speaking(subject: Subject) -> RunDirectory:
    """The run, which reads texts. Raises InputError for one that does not."""
    if subject.run is None:
        raise InputError("captions are compared with images by a run that learned both: name its directory")
    deployed = with_words(subject.run).card.deploy
    if subject.which != deployed:
        raise InputError(f"which={subject.which}: captions are compared with what the {deployed} of this run sees")
    return subject.run


def _named(result: Discovery, run: RunDirectory, images: Images, captions: str, features_NF: Tensor) -> Discovery:
    """The discovery with its new classes called by captions. Raises InputError where no image has one."""
    texts = captions_of(images.columns[captions]).strings
    if not texts:
        raise InputError(
            f"no image of {images.name} has a caption in the column {captions!r}: --captions names another"
        )
    names = cluster_names(images_of(run, features_NF), result.found.clusters, texts, texts_of(run, texts))
    note = (
        f"new classes are called by one of {len(texts):,} captions: that which fits the mean of their images most "
        "beyond what fits all images"
    )
    return replace(result, classes=called(result.classes, names), notes=[*result.notes, note])


# What is known -----------------------------------------------------------------------------------------------------


def _check(labelled: str | Path | None, subset: str | None, classes: int | str, sure: float) -> None:
    if labelled is not None and subset is not None:
        raise InputError(f"labelled={labelled} and subset={subset} both say which labels are known: give one of them")
    if classes != "auto" and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise InputError(f"classes={classes!r}: allowed are whole numbers from 1, or 'auto'")
    if not 0.0 <= sure <= 1.0:
        raise InputError(f"sure={sure} is out of range: allowed is 0 (every image is sure) to 1")


def _known(
    subject: Subject, source: Source, labelled: str | Path | None, subset: str | None, subset_seed: int, *, is_own: bool
) -> Known:
    """Which labels may be known, by the first way that was asked for or is at hand."""
    if labelled is not None:
        return by_list(source, Path(labelled).expanduser())
    drawn = subject.drawn() if is_own else None
    hides = drawn is not None and drawn.get("labelled", 0) < drawn.get("images", 0)
    if subset is None and drawn is not None and hides:
        subset, subset_seed = drawn["text"], drawn["seed"]
    return by_source(source) if subset is None else by_draw(source, subset, subset_seed)


def _readable(known: Known, found: Embedded) -> Known:
    """What is known of the images that could be read."""
    if len(found.rows) == len(known.labels):
        return known
    rows = found.rows
    truth = None if known.truth is None else known.truth[rows]
    return known._replace(source=Part.of(known.source, rows), labels=known.labels[rows], truth=truth)


# What is said ------------------------------------------------------------------------------------------------------


def _protocol(number: int, subject: Subject, *, seeding: str, seed: int) -> str:
    return (
        f"semi-supervised k-means into {number} clusters on unit features ({subject.which}, "
        f"{subject.encoder.spec.image_size} px), {_SEEDED[seeding]}, tightest of {finding.RUNS} runs (seed {seed}); "
        "confidence: share of labelled images with as large a margin that came back into their class while their "
        "label was hidden, a fifth at a time"
    )


def _notes(
    known: Known, found: finding.Classes, counted: Counted | None, subject: Subject, images: Images
) -> list[str]:
    notes = [] if subject.taken is None else [f"clustered is the {subject.taken}"]
    notes += [] if counted is None else counted.notes
    if images.broken:
        notes.append(f"{len(images.broken):,} images could not be read and were left out")
    back, hidden = found.recovered
    if hidden and back < _FEWEST_BACK * hidden:
        notes.append(
            f"of labelled images only {back / hidden:.0%} came back into their class while their label was hidden: "
            "the encoder does not tell these classes apart well, and the new ones are no better"
        )
    empty = len(found.centres) - len(np.unique(found.clusters))
    if empty:
        notes.append(
            f"{empty} of {len(found.centres)} clusters stayed empty: there are fewer different images than clusters"
        )
    if known.truth is None and known.source.labels is not None:
        notes.append("there are no scores: the labels of the data have other names than those that were given")
    return notes


# Files -------------------------------------------------------------------------------------------------------------


def _targets(out: str | Path | None, *, overwrite: bool) -> tuple[Path, Path] | None:
    """The table and the page. Raises InputError before anything takes long."""
    if out is None:
        return None
    table = Path(out).expanduser()
    check_ending(table, ".csv")
    check_folder(table.parent)
    for path in (table, table.with_suffix(".html")):
        if path.is_dir() or (path.exists() and not overwrite):
            raise InputError(f"{path} exists: choose another file, or say --overwrite")
    return table, table.with_suffix(".html")


def _write_both(targets: tuple[Path, Path], images: Images, result: Discovery) -> None:
    """The table of all images, and the page that shows the classes."""
    table, page = targets
    _write(table, result.to_csv(table.parent))
    _write(page, discovered_sheet(images, result))


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(path) as file:
        file.write(content.encode("utf-8", errors="surrogateescape" if path.suffix == ".csv" else "replace"))
