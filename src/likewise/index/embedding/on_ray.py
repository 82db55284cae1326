"""Embedding on a Ray cluster: its machines have the encoder and read images by their positions in the data.

Rows are written by the process that asked, as they come, so that what holds of commits, crashes and second calls holds
here as well.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from likewise.data import cached_side
from likewise.data.decoding.pixels import Range
from likewise.encoders import Encoder
from likewise.encoders.embedding import rows, view_of
from likewise.errors import InputError, missing
from likewise.index.embedding.streaming import ImageFacts, Looked, Stream, open_whole

_BLOCKS = 4
"""Blocks of positions for each worker, so that none waits long for the last."""


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

        Raises InputError where there is no such cluster.
        """
        ray = _library()
        joined = not ray.is_initialized()
        if joined:
            _join(ray, self.address)
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            held = ray.cluster_resources()
            gpus = int(held.get("GPU", 0))
            workers = max(1, min(gpus or int(held.get("CPU", 1)), -(-len(positions) // batch_size)))
            parts = np.array_split(positions, min(len(positions), _BLOCKS * workers))
            looked = ray.data.from_arrow([pa.table({"position": part}) for part in parts]).map_batches(
                Worker,
                fn_constructor_args=(self, encoder.cpu(), batch_size, bf16),
                batch_size=batch_size,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
                num_gpus=1 if gpus else 0,
                num_cpus=1,
            )
            for batch in looked.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield _read(batch)
        finally:
            if joined:
                ray.shutdown()


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
            reasons = {one.name: one.reason for one in stream.broken}
        return pa.table(
            {
                "position": positions,
                "vector": pa.FixedSizeListArray.from_arrays(vectors_BF.ravel(), vectors_BF.shape[1]),
                "bytes": ["" if one is None else one.bytes for one in facts],
                "pixels": ["" if one is None else one.pixels for one in facts],
                "broken": pa.array(
                    [reasons.get(self.source.names[position]) for position in positions.tolist()], pa.string()
                ),
            }
        )


def _read(batch: pa.Table) -> Looked:
    """What came of a batch."""
    vectors = batch["vector"].combine_chunks()
    positions, contents, pixels, reasons = (
        batch[name].to_pylist() for name in ("position", "bytes", "pixels", "broken")
    )
    facts = [ImageFacts(*of) if reason is None else None for *of, reason in zip(contents, pixels, reasons, strict=True)]
    broken = {position: reason for position, reason in zip(positions, reasons, strict=True) if reason is not None}
    return Looked(positions, np.asarray(vectors.flatten(), np.float32).reshape(len(positions), -1), facts, broken)


def _join(ray: Any, address: str) -> None:
    """Join the cluster at an address. Raises InputError where there is none."""
    try:
        ray.init(
            address=None if address == "local" else address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"there is no Ray cluster at {address!r}: start one (`ray start --head`), or name 'auto', 'local' or "
            "host:port"
        ) from error


def _library() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing("ray", "ray", "embedding on a cluster") from error
    return ray
