"""`likewise.compare`: runs side by side; scores are compared only where their protocols are the same."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from likewise.comparison import efficiency as labels_needed
from likewise.comparison import footprints
from likewise.comparison.efficiency import DRAWS, Efficiency
from likewise.comparison.entries import Entry, at_own_sides, of_encoder, of_run
from likewise.comparison.footprints import Footprint
from likewise.comparison.groups import Group, grouped
from likewise.comparison.tables import (
    GroupDifference,
    ScoreColumn,
    baselines,
    cell,
    columns_of,
    contrasts,
    notes,
    unified,
)
from likewise.errors import InputError
from likewise.evaluation.encoder_source import Which
from likewise.files import write_aside
from likewise.runs import RunDirectory
from likewise.training.planning.machine import best_device
from likewise.verbs.judging.evaluate import evaluate

Run = str | Path | RunDirectory


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison."""

    groups: tuple[Group, ...]
    """Runs that differ only in the seed, together."""
    untrained: tuple[Group, ...]
    """The same encoders without training, where they were scored."""
    columns: tuple[ScoreColumn, ...]
    """One for each way in which something was scored."""
    contrasts: tuple[GroupDifference, ...]
    """The best of each column against the others."""
    notes: tuple[str, ...]
    """What a reader should know."""
    efficiency: tuple[Efficiency, ...] = ()
    """Accuracy against labels of each class, where that was asked for."""
    footprints: tuple[tuple[str, Footprint], ...] = ()
    """Label of a row and what its first encoder takes to run, where that was asked for."""

    @property
    def rows(self) -> tuple[Group, ...]:
        """Groups and baselines."""
        return (*self.groups, *self.untrained)

    def to_text(self, *, brief: bool = False) -> str:
        """A table for a terminal; `brief` leaves out everything beside it."""
        from likewise.comparison.text import as_text

        return as_text(self, brief=brief)

    def to_html(self) -> str:
        """A page of its own."""
        from likewise.comparison.page import as_page

        return as_page(self)

    def to_svg(self) -> str:
        """The label-efficiency curve as an image. Raises InputError where it was not measured."""
        from likewise.comparison.plots import as_svg

        return as_svg(self)

    def to_csv(self) -> str:
        """One line for each score of each run, with its protocol."""
        file = io.StringIO()
        writer = csv.DictWriter(file, list(_CSV), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_lines(self))
        return file.getvalue()

    def to_json(self) -> dict[str, Any]:
        """The same as one JSON object: `groups`, `scores`, `tests`, `notes`, `efficiency`, `footprints`."""
        return {
            "groups": [
                {
                    "label": group.label,
                    "runs": [entry.name for entry in group.entries],
                    "differs": dict(group.differs),
                    "scores": {
                        column.title: {"mean": found.mean, "spread": found.spread, "runs": len(found.scores)}
                        for column in self.columns
                        if (found := cell(group, column)) is not None
                    },
                }
                for group in self.rows
            ],
            "scores": _lines(self),
            "tests": [
                {
                    "column": self.columns[one.column].title,
                    "best": self.rows[one.best].label,
                    "other": self.rows[one.other].label,
                    "pictures": None if one.images is None else one.images._asdict(),
                    "seeds": None if one.seeds is None else one.seeds._asdict(),
                }
                for one in self.contrasts
            ],
            "notes": list(self.notes),
            "efficiency": [asdict(curve) for curve in self.efficiency],
            "footprints": [{"label": label, **one.to_json()} for label, one in self.footprints],
        }


_CSV = (
    "group",
    "run",
    "seed",
    "images_seen",
    "minutes",
    "probe",
    "k",
    "variant",
    "measure",
    "which",
    "value",
    "low",
    "high",
    "data",
    "split",
    "n",
    "protocol",
)


def compare(
    *runs: Run,
    data: Any = None,
    probe: Sequence[str] = (),
    which: Which | None = None,
    labels: str | None = None,
    untrained: bool = False,
    pretrained: bool = False,
    labels_per_class: Sequence[int] = (),
    draws: int = DRAWS,
    footprint: bool = False,
    device: torch.device | str | None = None,
    cache_dir: Path | None = None,
    quiet: bool = False,
) -> Comparison:
    """Compare runs by what their directories say, and by new scores where `data` or `probe` is given.

    With `data` every encoder is scored on it by `probe` (`knn` and `linear` by default), as `likewise.evaluate` would,
    and the scores are added to the runs; with `probe` alone on what each was trained on. `untrained` scores the
    encoders before training as well. What is not a run (a .safetensors or .onnx file, a timm name with `pretrained`)
    can only be compared on `data`. `labels_per_class` measures how accurate each is with so many labels of each class,
    `draws` times. `footprint` measures what each takes to run on this machine: parameters, bytes, and the time for 1
    and 32 images with one thread and two; scores of encoders of other input sides are then in one column.

    Raises InputError for what is not a run, and wherever `likewise.evaluate` does.
    """
    if not runs:
        raise InputError("compare needs runs: name two or more run directories")
    counts = labels_needed.check_counts(labels_per_class)
    if draws < 1:
        raise InputError(f"draws={draws} must be at least 1")
    places = [run.path if isinstance(run, RunDirectory) else Path(run) for run in runs]
    if len({place.absolute() for place in places}) < len(places):
        raise InputError(f"a run is named twice among {', '.join(map(str, places))}")
    common: dict[str, Any] = {"which": which, "labels": labels, "cache_dir": cache_dir, "quiet": quiet}
    scored = data is not None or bool(probe)
    probes = tuple(probe) or ("knn", "linear")
    entries = [
        _entry(
            place, data, probes if scored else (), untrained=untrained, pretrained=pretrained, device=device, **common
        )
        for place in places
    ]
    curves = {}
    if counts:
        where = torch.device(device) if device is not None else torch.device(best_device())
        how = {**common, "draws": draws, "untrained": untrained, "device": where}
        for place, entry in zip(places, entries, strict=True):
            named = pretrained and not place.exists()
            curves[entry.name] = labels_needed.measure(str(place), data, counts, pretrained=named, **how)
    if footprint:
        entries = [at_own_sides(entry, same_images=data is not None) for entry in entries]
    found = _compared(entries, curves)
    return replace(found, footprints=_footprints(found.groups, which, pretrained, device)) if footprint else found


def _footprints(
    groups: Sequence[Group], which: Which | None, pretrained: bool, device: torch.device | str | None
) -> tuple[tuple[str, Footprint], ...]:
    """What the first encoder of each group takes to run."""
    where = torch.device(device) if device is not None else torch.device(best_device())
    names = {group.label: group.entries[0].name for group in groups}
    return tuple(
        (label, footprints.measure(name, which, pretrained=pretrained and not Path(name).exists(), device=where))
        for label, name in names.items()
    )


def _entry(
    place: Path, data: Any, probes: Sequence[str], *, untrained: bool, pretrained: bool, device: Any, **common: Any
) -> Entry:
    """A run, scored now if there are `probes`, or an encoder without one."""
    is_run, name = (place / "run.json").is_file(), str(place)
    if not probes:
        return of_run(place)
    if data is None and not is_run:
        RunDirectory.open(place)
    named = pretrained and not place.exists()
    result = evaluate(name, data, probe=probes, untrained=untrained, pretrained=named, device=device, **common)
    return of_run(place) if is_run else of_encoder(name, result)


def _compared(entries: Sequence[Entry], curves: dict[str, dict[str, Efficiency]]) -> Comparison:
    entries = unified(entries)
    groups, columns = grouped(entries), columns_of(entries)
    without = [group for group in grouped(baselines(entries)) if any(cell(group, column) for column in columns)]
    return Comparison(
        groups=tuple(groups),
        untrained=tuple(without),
        columns=tuple(columns),
        contrasts=tuple(contrasts(groups, columns)),
        notes=tuple(notes(columns, groups)),
        efficiency=tuple(_efficiencies(groups, curves)) if curves else (),
    )


def _efficiencies(groups: Sequence[Group], curves: dict[str, dict[str, Efficiency]]) -> list[Efficiency]:
    """A curve for each group, and one for all encoders before training."""
    found = []
    for group in groups:
        for role in dict.fromkeys(
            role for entry in group.entries for role in curves[entry.name] if role != "untrained"
        ):
            parts = [curves[entry.name][role] for entry in group.entries if role in curves[entry.name]]
            found.append(labels_needed.joined(group.label, parts))
    untrained = [parts["untrained"] for parts in curves.values() if "untrained" in parts]
    if untrained:
        found.append(labels_needed.joined("untrained", untrained))
    return found


def _lines(comparison: Comparison) -> list[dict[str, Any]]:
    """One for each score of each run; one without a score for a run that has none."""
    lines = []
    for group in comparison.groups:
        for entry in group.entries:
            budget = {"images_seen": entry.images, "minutes": entry.minutes}
            own = {"group": group.label, "run": entry.name, "seed": entry.seed, **budget}
            for score in entry.scores:
                kind = score.kind
                how = {"probe": kind.name, "k": kind.k, "variant": kind.variant, "measure": kind.measure}
                value = {"which": score.which, "value": score.value, "low": score.low, "high": score.high}
                where = {"data": kind.data, "split": kind.split, "n": kind.n, "protocol": score.protocol}
                lines.append({**own, **how, **value, **where})
            if not entry.scores:
                lines.append({**dict.fromkeys(_CSV), **own})
    return lines


def check_free(path: str | Path, *, overwrite: bool = False) -> None:
    """Raise InputError where there is a file already, unless `overwrite`."""
    if Path(path).exists() and not overwrite:
        raise InputError(f"{path} exists: name another file, or pass overwrite")


def write(path: str | Path, content: str, *, overwrite: bool = False) -> Path:
    """Write a file at once. Raises InputError where there is one and it may not `overwrite`, and where it cannot."""
    check_free(path, overwrite=overwrite)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(path) as file:
            file.write(content.encode("utf-8", errors="replace"))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path
