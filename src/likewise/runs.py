"""The directory of a run: requested and resolved settings, metrics, and weights. Importing needs no torch.

run.json               settings, versions, seed, data, status, scores; enough to repeat the run
encoder.safetensors    the trained student (teacher.safetensors beside it where there is a teacher)
method.safetensors     all networks of the method, with heads and prototypes (likewise.methods.whole)
model.json             which encoder it is and how its input is prepared
metrics.jsonl          one flat JSON object a line
checkpoints/  tensorboard/  report.html  broken.json
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import json
import math
import platform
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self, cast, get_args

from likewise._version import __version__
from likewise.errors import InputError, unknown
from likewise.files import no_room, write_aside

if TYPE_CHECKING:
    from torch import nn

    from likewise.encoders import Encoder

_SHOWN = 3
"""Runs that are named where another was not found."""
ROOT = Path("runs")
Ending = Literal["finished", "interrupted", "stopped"]
_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numpy",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-learn",
)


def default_name(data_name: str, method: str, encoder: str) -> str:
    """`photos-isd-resnet18`: the name of a run that was given none. Safe on every file system."""
    parts = (re.sub(r"[^a-z0-9._]+", "-", part.lower()).strip("-.") for part in (data_name, method, encoder))
    return "-".join(part[:60] for part in parts if part) or "run"


def versions() -> dict[str, str]:
    """This package, Python, the platform, and the packages that numbers depend on."""
    found = {"likewise": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command that started this process, ready to paste; `arguments` stands for `sys.argv`."""
    program, *rest = sys.argv if arguments is None else arguments
    name = Path(program).name
    if name in {"__main__.py", "likewise.exe"} or not name:
        name = "likewise"
    return shlex.join([name, *rest])


def plain(value: Any) -> Any:
    """`value` as JSON knows it. Dataclasses become objects, arrays and tensors lists or numbers, inf and nan null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "tolist"):  # arrays, their scalars, and tensors
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunDirectory:
    """One run on disk. Only one process of a run writes to it."""

    def __init__(self, path: Path) -> None:
        """Name a directory without touching it; `create` and `open` check it."""
        self.path = Path(path)
        self._metrics: IO[bytes] | None = None
        self._unwritten = b""

    # Places ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @property
    def settings_file(self) -> Path:
        """run.json."""
        return self.path / "run.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_file(self) -> Path:
        """metrics.jsonl."""
        return self.path / "metrics.jsonl"

    @property
    def report_file(self) -> Path:
        """report.html."""
        return self.path / "report.html"

    def weights(self, which: str = "student") -> Path:
        """Weights of the encoder in a role: `student` lies in encoder.safetensors, `teacher` in teacher.safetensors."""
        return self.path / ("encoder.safetensors" if which == "student" else f"{which}.safetensors")

    # Creating and finding --------------------------------------------------------------------------------------

    @classmethod
    def create(cls, out: Path | str | None, default: str, root: Path = ROOT) -> Self:
        """A new directory: `out` if given, else the first free of root/default, root/default-2, ...

        Nothing is ever overwritten: raises `InputError` where `out` holds a run or anything else, or cannot be made.
        """
        if out is not None:
            return cls._create_named(Path(out))
        number = 1
        while True:
            path = root / (default if number == 1 else f"{default}-{number}")
            if _make(path):
                return cls(path)
            number += 1

    @classmethod
    def _create_named(cls, path: Path) -> Self:
        if (path / "run.json").exists():
            raise InputError(f"{path} already holds a run: continue it with --resume, or choose another --out")
        if not _make(path):
            if not path.is_dir():
                raise InputError(f"{path} is a file: choose another --out")
            if any(path.iterdir()):
                raise InputError(f"{path} exists and is not empty: choose another --out")
        return cls(path)

    def claimed(self) -> AbstractContextManager[bool]:
        """Hold the run against other processes: two that train one would mix their checkpoints. Raises InputError."""
        from likewise.data.caching.locking import exclusive

        return exclusive(self.path / ".lock", f"{self.path}: wait for it, or end it", wait=False)

    def discard(self) -> None:
        """Remove a run in which nothing was trained, so that its place is free for the next."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """An existing run. Raises `InputError` where there is none, naming the nearest one beside it."""
        path = Path(path)
        if (path / "run.json").is_file():
            return cls(path)
        there = [other.parent.name for other in sorted(path.absolute().parent.glob("*/run.json"))]
        near = difflib.get_close_matches(path.name, there, n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        if there and not near:
            more = ", ..." if len(there) > _SHOWN else ""
            hint = f"; runs beside it are {', '.join(there[:_SHOWN])}{more}"
        what = "has no run.json, so it is no run" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}{hint}")

    @classmethod
    def newest(cls, default: str, root: Path = ROOT) -> Self | None:
        """The run that `create` made last under a default name, or None."""
        numbered = re.compile(re.escape(default) + r"(?:-(\d+))?")
        found = [
            (int(match[1] or 1), path.parent)
            for path in root.glob(f"{glob_escape(default)}*/run.json")
            if (match := numbered.fullmatch(path.parent.name))
        ]
        return cls(max(found)[1]) if found else None

    # run.json --------------------------------------------------------------------------------------------------

    def read(self) -> dict[str, Any]:
        """All of run.json; empty before the first `write`. Raises `InputError` where it is damaged."""
        if not self.settings_file.exists():
            return {}
        return _read_object(self.settings_file)

    def write(self, **fields: Any) -> None:
        """Set fields of run.json, keep the others, replace the file at once. Values are made plain (see `plain`)."""
        merged = {**self.read(), **cast("dict[str, Any]", plain(fields))}
        self.write_json("run.json", merged)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run (broken.json, say), at once."""
        with write_aside(self.path / name) as file:
            text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            # A path whose bytes are no UTF-8 holds lone surrogates: their escape in JSON is the same path when read.
            file.write(text.encode("utf-8", "backslashreplace"))

    def begin(self, command: str, **fields: Any) -> None:
        """The run starts, or goes on after a resume: then the first start and command are kept, the new noted too."""
        before = self.read()
        begun = {"started": before.get("started", _now()), "command": before.get("command", command)}
        if "started" in before:
            begun["resumed"] = [*before.get("resumed", []), {"at": _now(), "command": command}]
        self.write(likewise=__version__, status="running", **begun, versions=versions(), finished=None, **fields)

    def end(self, status: Ending, *, minutes: float, **fields: Any) -> None:
        """The run is over: `finished` its budget, `interrupted` from outside, or `stopped` by itself.

        `minutes` counts all of its parts, resumed ones included.
        """
        if status not in get_args(Ending):
            raise unknown("status", status, get_args(Ending))
        now = self.read().get("status")
        if now != "running":
            raise InputError(f"{self.path} is {now or 'not begun'}: only a running run can become {status}")
        self.close()
        self.write(status=status, minutes=round(minutes, 3), finished=_now(), **fields)

    # metrics.jsonl ---------------------------------------------------------------------------------------------

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add one line. It reaches the operating system before this returns, so a killed run keeps it.

        Where the disk is full a warning says so, and the line waits for the next one that finds room.
        """
        self._unwritten += (json.dumps(plain(metrics), ensure_ascii=False, allow_nan=False) + "\n").encode()
        try:
            if self._metrics is None:
                self._metrics = self.metrics_file.open("ab", buffering=0)
            while self._unwritten:  # a disk that is about to be full takes a part
                self._unwritten = self._unwritten[self._metrics.write(self._unwritten) :]
        except OSError as error:
            if no_room(error) is None:
                raise
            warnings.warn(f"{self.metrics_file} waits for room on the disk: {error.strerror}", stacklevel=2)

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics; a last line that was cut short by a crash is left out."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [found for line in lines if (found := _object_or_none(line)) is not None]

    def cut_metrics(self, step: int) -> None:
        """Forget the lines after `step` finished steps, and broken ones: a resumed run writes them again."""
        self.close()
        if not self.metrics_file.exists():
            return
        kept = [line for line in self.metrics() if line.get("step", 0) <= step]
        with write_aside(self.metrics_file) as file:
            file.writelines((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in kept)

    def close(self) -> None:
        """Close the metrics file; the next line opens it again."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    # Weights ---------------------------------------------------------------------------------------------------

    def save_encoders(self, encoders: Mapping[str, nn.Module], extra: Mapping[str, Any] | None = None) -> None:
        """Write `method.encoders()`: weights by role, and model.json, to which `extra` is added.

        model.json says under `weights` which file holds which role. Raises `InputError` without a student.
        """
        from likewise.encoders import save_encoder

        if "student" not in encoders:
            raise InputError(f"a method has to name its student encoder, and this one names {', '.join(encoders)}")
        files = {role: self.weights(role).name for role in encoders}
        for role in sorted(
            encoders, key="student".__eq__
        ):  # the student last: model.json describes encoder.safetensors
            described = {**cast("dict[str, Any]", plain(extra or {})), "which": role, "weights": files}
            save_encoder(cast("Encoder", encoders[role]), self.weights(role), extra=described)


def glob_escape(name: str) -> str:
    """`name` so that a glob pattern means just it."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _make(path: Path) -> bool:
    """Make a directory with its parents; False if something of the name is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        if isinstance(error, FileExistsError) and path.parent.is_dir():
            return False
        raise InputError(f"cannot make the run directory {path}: {error.strerror or error}") from error
    return True


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object")
    return found


def _object_or_none(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
