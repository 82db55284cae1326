"""Selections as files: a CSV of our own, tasks for Label Studio, a manifest for CVAT.

A path is written relative to the folder of the file where it lies below it, and whole elsewhere, so that lists stay
right when they are moved together with their images.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from likewise.errors import InputError
from likewise.files import write_aside

ENDINGS = {"label_studio": ".json", "cvat": ".jsonl"}
"""Ending that each tool knows its file by: others are taken for something else, or skipped without a word."""
COLUMNS = ("path", "reason", "cluster", "density")


class Pick(NamedTuple):
    """One image to label."""

    path: Path
    """Where it lies, absolute."""
    reason: str
    """Why it was picked."""
    cluster: int
    """Which cluster it stands for."""
    density: float
    """1 / mean squared distance to its neighbours."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def beside(path: Path, folder: Path) -> str:
    """`path` relative to `folder` where it lies below it, with slashes; else whole."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # links stay as they are named
    try:
        return absolute.relative_to(os.path.abspath(folder)).as_posix()  # noqa: PTH100
    except ValueError:
        return str(absolute)


def write_table(out: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A CSV file, replaced whole or not at all."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([columns, *rows])
    with write_aside(out) as file:
        file.write(written.getvalue().encode("utf-8", "surrogateescape"))


def write_picks(out: Path, picks: Sequence[Pick]) -> None:
    """The list of picks, which `likewise label` and every verb that takes data reads."""
    rows = [(beside(one.path, out.parent), one.reason, one.cluster, f"{one.density:.6g}") for one in picks]
    write_table(out, COLUMNS, rows)


def common_folder(picks: Sequence[Pick]) -> Path:
    """The deepest folder that holds all picks."""
    return Path(os.path.commonpath([str(one.path.parent) for one in picks]))


def check_endings(files: Mapping[str, str | Path | None]) -> None:
    """Raise InputError for a file of another tool, by the tool's name, that the tool would not know by its ending."""
    for tool, file in files.items():
        if file is not None and Path(file).suffix != ENDINGS[tool]:
            near = Path(file).with_suffix(ENDINGS[tool])
            raise InputError(f"{tool}={file}: its name has to end in {ENDINGS[tool]} to be read: nearest is {near}")


def write_label_studio(out: Path, picks: Sequence[Pick]) -> Path:
    """Tasks for Label Studio, an image each under `image`, served from local files; the folder to serve is returned.

    Label Studio has to be started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
    LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to a folder above that one.
    """
    root = common_folder(picks)
    tasks = [
        {
            "data": {
                "image": f"/data/local-files/?d={quote((root.name / one.path.relative_to(root)).as_posix())}",
                "reason": one.reason,
                "cluster": one.cluster,
            }
        }
        for one in picks
    ]
    with write_aside(out) as file:
        file.write((json.dumps(tasks, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))
    return root.parent


def write_cvat(out: Path, picks: Sequence[Pick]) -> Path:
    """A dataset manifest for CVAT (version 1.1, images): names relative to a folder, which is returned.

    CVAT opens it in the encoding of its machine, so that names are written in ASCII with JSON's escapes.
    """
    root = common_folder(picks)
    lines: list[dict[str, object]] = [{"version": "1.1"}, {"type": "images"}]
    for one in picks:
        place = one.path.relative_to(root)
        lines.append(
            {
                "name": place.with_suffix("").as_posix(),
                "extension": place.suffix,
                "width": one.width,
                "height": one.height,
                "meta": {"related_images": []},
            }
        )
    with write_aside(out) as file:
        file.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode("ascii"))
    return root
