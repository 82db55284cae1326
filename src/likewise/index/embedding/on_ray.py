"""Embedding on a Ray cluster: its machines have the encoder and read images by their positions in the data.

Rows are written by the process that asked, as they come, so that what holds of commits, crashes and second calls holds
here as well.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from likewise.data import cached_side
from likewise.data.decoding.pixels import Range
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError, LikewiseError, missing
from likewise.index.embedding.streaming import ImageFacts, Looked, Stream, open_whole

_DRIVER = (sys.executable, "-m", "likewise.index.embedding.driver")
_BLOCKS = 4
"""Blocks of positions for each worker, so that none waits long for the last."""
_JOIN_SECONDS, _END_SECONDS = 120.0, 30.0
"""A cluster that was not joined after so long is not there; a driver that has not ended after so long is killed."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, and how each of its machines finds the images."""

    address: str
    """`auto` is the one that this machine belongs to or RAY_ADDRESS names, `local` one of this machine alone."""
    data: str
    """What `open_source` takes, on every machine."""
    split: str | None
    labels: str | None
    ranges: dict[str, Range]
    """What is black and white in the images, as the encoder's run knows it."""

    @classmethod
    def of(
        cls, address: str, data: Any, *, split: str | None, labels: str | None, ranges: dict[str, Range] | None
    ) -> Cluster:
        """Raises InputError for data that other machines cannot open, and without the extra `ray`."""
        if not isinstance(data, str | Path):
            raise InputError(
                f"--ray needs data that every machine can open, a path or a name, not a {type(data).__name__}"
            )
        _library()
        path = Path(data).expanduser()
        return cls(address, str(path.absolute()) if path.exists() else str(data), split, labels, ranges or {})

    def embedded(
        self, encoder: Encoder, positions: NDArray[np.int64], *, batch_size: int, bf16: bool
    ) -> Generator[Looked, None, None]:
        """What the cluster makes of the images at `positions`, in any order, each once.

        Ray ends the process that talks to a cluster when the cluster goes away, so that is a process of its own
        (`likewise.index.embedding.driver`). Raises InputError where there is no such cluster, LikewiseError where it
        ends before all images were looked at.
        """
        asked = _library().cloudpickle.dumps(Asked(self, encoder.cpu(), positions, batch_size, bf16))
        driver = subprocess.Popen(  # noqa: S603  # our own module, by this interpreter
            _DRIVER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Ray's own words, which are in its log files as well
            start_new_session=True,
        )
        late = threading.Timer(_JOIN_SECONDS, driver.kill)
        assert driver.stdin is not None
        assert driver.stdout is not None
        try:
            late.start()
            with contextlib.suppress(BrokenPipeError), driver.stdin as to:
                to.write(asked)
            if not isinstance(_next(driver.stdout), Joined):
                raise InputError(
                    f"there is no Ray cluster at {self.address!r} that can be joined: start one (`ray start --head`), "
                    "name 'auto', 'local' or host:port, and set RAY_AUTH_MODE=token where the cluster wants a token"
                )
            late.cancel()
            while not isinstance(said := _next(driver.stdout), Ended):
                assert isinstance(said, Looked)
                yield said
            _leave(driver)
            if said.reason is not None:
                raise LikewiseError(f"{said.reason}; rows that were written are kept, and the same command goes on")
        finally:
            late.cancel()
            _end(driver)


class Asked(NamedTuple):
    """What the driver is told."""

    cluster: Cluster
    encoder: Encoder
    positions: NDArray[np.int64]
    batch_size: int
    bf16: bool


class Joined(NamedTuple):
    """The first word of the driver: the cluster is there."""


class Ended(NamedTuple):
    """The last word of the driver."""

    reason: str | None
    """Why not all images were looked at; None where they were."""


def _next(words: IO[bytes]) -> Joined | Looked | Ended:
    """What the driver says next. Where it was ended by Ray, that is that the cluster went away."""
    try:
        said: Joined | Looked | Ended = pickle.load(words)  # noqa: S301  # from a process of this command
    except (EOFError, pickle.UnpicklingError):
        return Ended("the Ray cluster went away")
    return said


def _leave(driver: subprocess.Popen[bytes]) -> None:
    """Give the driver, which said its last word, time to leave the cluster, or to end that which it started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(_END_SECONDS)


def _end(driver: subprocess.Popen[bytes]) -> None:
    """See that the driver is ended, whatever it does."""
    if driver.stdout is not None:
        driver.stdout.close()
    driver.terminate()
    try:
        driver.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()


def looked_at(ray: Any, asked: Asked) -> Iterator[Looked]:
    """What workers on the cluster that `ray` has joined make of the images, as it comes."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    held = ray.cluster_resources()
    gpus = int(held.get("GPU", 0))
    workers = max(1, min(gpus or int(held.get("CPU", 1)), -(-len(asked.positions) // asked.batch_size)))
    parts = np.array_split(asked.positions, min(len(asked.positions), _BLOCKS * workers))
    found = ray.data.from_arrow([pa.table({"position": part}) for part in parts]).map_batches(
        Worker,
        fn_constructor_args=(asked.cluster, asked.encoder, asked.batch_size, asked.bf16),
        batch_size=asked.batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_gpus=1 if gpus else 0,
        num_cpus=1,
    )
    for batch in found.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield _read(batch)


class Worker:
    """An encoder and the data, on one of the machines."""

    def __init__(self, cluster: Cluster, encoder: Encoder, batch_size: int, bf16: bool) -> None:
        self.encoder = encoder
        if torch.cuda.is_available():
            self.encoder.to("cuda")
        self.batch_size, self.bf16 = batch_size, bf16
        self.source = open_whole(cluster.data, split=cluster.split, labels=cluster.labels).shown_by(cluster.ranges)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Vectors of the images at the positions of a batch, with what is known of each; why one cannot be read."""
        positions = batch["position"].to_numpy()
        where = next(self.encoder.parameters()).device
        view = view_of(self.encoder.spec)

        def autocast() -> torch.autocast:
            return torch.autocast(where.type, torch.bfloat16, enabled=self.bf16)

        with Stream(self.source, cached_side(view.size)) as stream:
            found = rows(self.encoder, stream, positions, view, self.batch_size, autocast=autocast)
            vectors_BF = torch.cat([rows_BF.float().cpu() for _, rows_BF in found]).numpy()
            facts = [stream.facts.get(position) for position in positions.tolist()]
        return pa.table(
            {
                "position": positions,
                "vector": pa.FixedSizeListArray.from_arrays(vectors_BF.ravel(), vectors_BF.shape[1]),
                "bytes": ["" if one is None else one.bytes for one in facts],
                "pixels": ["" if one is None else one.pixels for one in facts],
                "stamp": ["" if one is None else one.stamp for one in facts],
                "broken": pa.array(
                    [stream.broken[one].reason if one in stream.broken else None for one in positions.tolist()],
                    pa.string(),
                ),
            }
        )


def _read(batch: pa.Table) -> Looked:
    """What came of a batch."""
    vectors = batch["vector"].combine_chunks()
    positions, contents, pixels, stamps, reasons = (
        batch[name].to_pylist() for name in ("position", "bytes", "pixels", "stamp", "broken")
    )
    facts = [
        ImageFacts(*of) if reason is None else None
        for *of, reason in zip(contents, pixels, stamps, reasons, strict=True)
    ]
    broken = {position: reason for position, reason in zip(positions, reasons, strict=True) if reason is not None}
    return Looked(positions, np.asarray(vectors.flatten(), np.float32).reshape(len(positions), -1), facts, broken)


def _library() -> Any:
    try:
        import ray
        import ray.cloudpickle
        import ray.data
    except ImportError as error:
        raise missing("ray", "ray", "embedding on a cluster") from error
    return ray
