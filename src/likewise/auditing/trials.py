"""Trials: the decision of a person or an encoder for each stimulus, in the benchmark's form.

Shapes: N trials.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from likewise.auditing.categories import SIXTEEN
from likewise.auditing.consistency import NONE
from likewise.auditing.experiments import EXPERIMENTS
from likewise.errors import InputError

FILE = "human_trials.csv.gz"
"""All trials of all people in one file."""
_COLUMNS = ("subj", "object_response", "category", "condition", "imagename")
_WNID = "n0"
_NUMBERS = {"0.90": "0.9", "true": "True", "false": "False"}
"""Levels as some files of the published data write them -> as the benchmark does."""

Texts = NDArray[np.str_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """Decisions of one observer in one experiment."""

    experiment: str
    """One of the 17."""
    observer: str
    """A person, or an encoder."""
    image_N: Texts
    """Name of the stimulus without its trial, the same for all observers: what is joined on."""
    condition_N: Texts
    """Level."""
    truth_N: Numbers
    """Category by number; of cue conflicts that of the shape."""
    answer_N: Numbers
    """Category by number, `NONE` where there was no answer."""

    def __len__(self) -> int:
        return len(self.image_N)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is right."""
        found: NDArray[np.bool_] = self.answer_N == self.truth_N
        return found

    def take(self, chosen: NDArray[np.bool_]) -> Trials:
        """Some of the trials."""
        parts = (self.image_N, self.condition_N, self.truth_N, self.answer_N)
        return Trials(self.experiment, self.observer, *(part[chosen] for part in parts))  # type: ignore[arg-type]

    def without(self, conditions: Sequence[str]) -> Trials:
        """The trials of all other levels."""
        return self.take(~np.isin(self.condition_N, list(conditions)))


def read_human(path: str | Path) -> list[Trials]:
    """The trials of people: of `human_trials.csv.gz`, or of a folder with one CSV for each observer.

    A folder may hold that file, or the published layout, EXPERIMENT/EXPERIMENT_subject-NN_session_1.csv. Categories are
    numbered as in `SIXTEEN`. Raises InputError where there is neither, and for answers that are no category.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if file.is_file():
        return _of_table(_read(file), file)
    files = [one for name in EXPERIMENTS for one in sorted(path.rglob(f"{name}/{name}_subject-*.csv"))]
    if not files:
        raise InputError(f"{path} holds no trials of people: neither {FILE} nor EXPERIMENT/EXPERIMENT_subject-NN_*.csv")
    return [_of_observer(one) for one in files]


def image_id(name: str) -> str:
    """The name of a stimulus without its trial: `0001_cr_s01_c05_dog_10_n02110185_9.png` -> `n02110185_9.png`."""
    parts = name.split("_")
    return "_".join(parts[-2:]) if len(parts) > 1 and parts[-2].startswith(_WNID) else parts[-1]


def _read(file: Path) -> pa.Table:
    """All columns as text: inference would make numbers and truth values of levels, and nothing of the answer `na`."""
    try:
        data = pa.input_stream(file).read()  # unpacked by the ending of the name
        names = [name.strip().strip('"') for name in data.split(b"\n", 1)[0].decode("utf-8-sig").strip().split(",")]
        convert = pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[], strings_can_be_null=False
        )
        table = pc.read_csv(io.BytesIO(data), convert_options=convert)
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no table of trials: {' '.join(str(error).split())}") from error
    return table.rename_columns([name.strip().lower() for name in table.column_names])


def _texts(table: pa.Table, column: str, file: Path) -> Texts:
    if column not in table.column_names:
        raise InputError(f"{file} has no column {column}: it has {', '.join(table.column_names)}")
    return np.asarray(table[column].to_pylist(), dtype=np.str_)


def _numbers(texts: Texts, file: Path) -> Numbers:
    number = {name: place for place, name in enumerate(SIXTEEN)} | {"na": NONE}
    values, inverse = np.unique(texts, return_inverse=True)
    strange = [value for value in values if value not in number]
    if strange:
        raise InputError(f"{file} has the answer '{strange[0]}': allowed are na and {', '.join(SIXTEEN)}")
    return np.asarray([number[value] for value in values], dtype=np.int64)[inverse]


def _of_table(table: pa.Table, file: Path) -> list[Trials]:
    columns = [_texts(table, name, file) for name in ("experiment", "subject", "image_id", "condition")]
    truth, answer = (_numbers(_texts(table, name, file), file) for name in ("category", "object_response"))
    experiment, subject, image, condition = columns
    found = []
    for name in dict.fromkeys(experiment.tolist()):
        inside = experiment == name
        for who in dict.fromkeys(subject[inside].tolist()):
            rows = inside & (subject == who)
            found.append(Trials(name, who, image[rows], condition[rows], truth[rows], answer[rows]))
    return found


def _of_observer(file: Path) -> Trials:
    table = _read(file)
    who, answer, truth, condition, image = (_texts(table, name, file) for name in _COLUMNS)
    levels = np.asarray([_NUMBERS.get(level, level) for level in condition.tolist()], dtype=np.str_)
    images = np.asarray([image_id(name) for name in image.tolist()], dtype=np.str_)
    return Trials(
        file.parent.name, str(who[0]) if len(who) else "", images, levels, _numbers(truth, file), _numbers(answer, file)
    )
