"""Checks of an index: truncated files, vectors of another encoder, changed images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likewise.errors import InputError
from likewise.index.index import Index, open_index
from likewise.index.space import Space
from likewise.index.stores import files
from likewise.index.stores import manifest as manifests
from likewise.index.stores.addresses import is_address
from likewise.index.stores.local import LocalStore

SAMPLE = 64
"""Rows whose images are embedded again."""
_UNIT = 1e-2
"""How far from 1 a stored length may be: float16 is right to 0.001."""
_READ = 1 << 16


@dataclass(frozen=True)
class Checkup:
    """The result of a check."""

    path: str
    rows: int
    spaces: tuple[Space, ...]
    counts: tuple[int, ...]
    """Rows of each space."""
    wrong: tuple[str, ...]
    """What is wrong, the worst first; empty for a sound index."""
    notes: tuple[str, ...]
    """What is worth knowing."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "index": self.path,
            "rows": self.rows,
            "spaces": [
                {"fingerprint": space.fingerprint, "name": space.name, "dimensions": space.dimensions, "rows": count}
                for space, count in zip(self.spaces, self.counts, strict=True)
            ],
            "wrong": list(self.wrong),
            "notes": list(self.notes),
            "sound": not self.wrong,
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [f"index   {self.path}, {self.rows:,} rows"]
        for space, count in zip(self.spaces, self.counts, strict=True):
            about = f"{space.name}, {space.dimensions} dimensions"
            about += f", {space.image_size} px, numeric noise {space.noise:.1e}" if space.has_encoder else ""
            lines.append(f"space   {space.fingerprint}: {about}, {count:,} rows")
        lines += [f"note    {one}" for one in self.notes]
        lines += [f"wrong   {one}" for one in self.wrong] or ["sound   nothing wrong was found"]
        return "\n".join(lines)


def check_index(path: str | Path) -> Checkup:
    """Look through the index at `path`. Raises InputError where there is none whose manifest can be read.

    Files of a folder are compared with what the manifest says of them, every vector is looked at, and of `SAMPLE` rows
    spread over the index the images that are there and unchanged are embedded again: vectors of another encoder differ
    from what its own gives by more than the numeric noise measured when the space was made.
    """
    wrong, notes = [] if is_address(path) else [*_files(Path(path))], []
    if wrong:
        manifest = manifests.read(Path(path))
        return Checkup(str(path), manifest.live, (), (), tuple(wrong), ())
    index = open_index(path)
    versions = index.versions
    counts = tuple(int((versions == number).sum()) for number in range(len(index.spaces)))
    for number in index.held_spaces():
        wrong += _vectors(index, number)
        faults, noted = _again(index, number)
        wrong += faults
        notes += noted
    if sum(count > 0 for count in counts) > 1:
        notes.append("rows are of several spaces: an upgrade is not finished")
    return Checkup(index.path, len(index), index.spaces, counts, tuple(wrong), tuple(notes))


def _files(path: Path) -> Iterator[str]:
    """What is missing or cut short."""
    manifest = manifests.read(path)
    try:
        spaces = [files.read_space(path, number, name) for number, name in enumerate(manifest.spaces)]
    except InputError as error:
        yield str(error)
        return
    wanted = [(files.rows_file(path, manifest), manifest.row_bytes)]
    wanted += [
        (files.vectors_file(path, manifest, number), files.vector_bytes(manifest, number, space.dimensions))
        for number, space in enumerate(spaces)
    ]
    for file, size in wanted:
        found = file.stat().st_size if file.is_file() else 0
        if found < size:
            yield f"{file.name} is cut short: {found:,} of {size:,} bytes are there; embed into a new index"
    for facts in manifest.graphs.values():
        if not (path / facts["file"]).is_file():
            yield f"{facts['file']} is missing: `likewise search --recall` makes another"


def _vectors(index: Index, number: int) -> Iterator[str]:
    """Vectors that are not finite or not of unit length."""
    vectors, bad = index.vectors(number), 0
    for start in range(0, len(vectors), _READ):
        lengths = np.linalg.norm(np.asarray(vectors[start : start + _READ], np.float32), axis=1)
        bad += int((~(np.abs(lengths - 1) < _UNIT)).sum())
    if bad:
        yield f"{bad:,} vectors are not of unit length: the file was changed by something else"


def _again(index: Index, number: int) -> tuple[list[str], list[str]]:
    """What embedding a sample anew says of the rows of a space: what is wrong, and notes."""
    space = index.spaces[number]
    if not space.has_encoder:
        return [], [f"{space.name} has no encoder here, so its vectors cannot be checked against images"]
    try:
        encoder = index.encoder(number)
    except InputError as error:
        return [], [str(error)]
    faults = [f"the encoder in the index is another one: {one}" for one in space.differences(Space.of_encoder(encoder))]
    table = index.store.table()
    rows = np.flatnonzero(index.versions == number)
    ids, paths, stamps = (table[name].to_pylist() for name in ("id", "path", "stamp"))
    some = [int(row) for row in rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(int))]]
    there = [row for row in some if paths[row] and Path(paths[row]).is_file() and _unchanged(paths[row], stamps[row])]
    if not there:
        return faults, [f"no image of {len(some)} sampled rows is there unchanged, so no vectors were compared"]
    stored = np.asarray(index.vectors(number), np.float32)[np.searchsorted(rows, there)]
    again = index.embed([paths[row] for row in there], number)
    apart = np.linalg.norm(stored - again, axis=1)
    allowed = _allowed(index, space, again)
    strange = [ids[row] for row, distance in zip(there, apart, strict=True) if distance > allowed]
    if strange:
        faults.append(
            f"{len(strange)} of {len(there)} sampled rows are not what their image gives, the first {strange[0]}: the "
            "index is mixed with vectors of another encoder or preprocessing"
        )
    return faults, [f"{len(there)} rows were compared with their images"]


def _allowed(index: Index, space: Space, again_ND: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """How far a unit vector may lie from the same, computed another time."""
    spread = float(np.sqrt(((again_ND - again_ND.mean(0)) ** 2).sum(1).mean()))
    probes = space.vectors_of_probes / np.linalg.norm(space.vectors_of_probes, axis=1, keepdims=True)
    spread = max(spread, float(np.sqrt(((probes - probes.mean(0)) ** 2).sum(1).mean())))
    coarse = isinstance(index.store, LocalStore) and index.store.manifest.dtype == "float16"
    return 2 * space.tolerance * spread + (2e-3 if coarse else 1e-5)


def _unchanged(path: str, stamp: str) -> bool:
    from likewise.data.fingerprints import file_facts

    facts = file_facts(Path(path))
    return stamp == f"{facts.size}:{facts.modified}"
