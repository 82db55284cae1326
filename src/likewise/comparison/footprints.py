"""The cost of an encoder: parameters, bytes, and time per image on this machine."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from likewise.data.caching.cache import processors, readable
from likewise.encoders import Encoder
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.onnx import files_of
from likewise.evaluation.encoder_source import Which, open_subject
from likewise.runs import RunDirectory

BATCHES = (1, 32)
"""Images that go through an encoder together: one that is asked for, and a batch of an index."""
THREADS = (1, 2)
"""Threads of a processor, as far as there are as many."""
SECONDS, LEAST = 0.3, 3
"""How long each is timed at least, and how often."""


@dataclass(frozen=True)
class Latency:
    """Time per batch."""

    batch: int
    """Images in it."""
    threads: int | None
    """Of the processor; None on an accelerator."""
    milliseconds: float
    """For the whole batch, the median of several passes."""


@dataclass(frozen=True)
class Footprint:
    """One encoder."""

    name: str
    """As it was named."""
    role: str
    """Whose weights of the run they are: student or teacher."""
    encoder: str
    """What it is: name and width."""
    features: int
    """Length of its vectors."""
    image_size: int
    """Side of its input in pixels."""
    parameters: int | None
    """Numbers that training settles; None where a file does not tell (ONNX)."""
    bytes: int
    """Of its weights as they lie on the disk, or would in float32."""
    device: str
    """Where it was timed."""
    latencies: tuple[Latency, ...]

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def measure(
    run: str | RunDirectory, which: Which | None = None, *, pretrained: bool = False, device: torch.device
) -> Footprint:
    """Size and speed of the encoder that `likewise.evaluate` would score, on images of its own side.

    Raises InputError where there is none. Other work on the machine shows in the times; nothing else is run meanwhile.
    """
    subject = open_subject(run, which, pretrained=pretrained)
    encoder = subject.encoder.to(device).eval()
    spec = encoder.spec
    counted = sum(weight.numel() for weight in encoder.parameters() if weight.numel() > 1)
    width = f", width {spec.width}" if spec.width != 64 else ""
    return Footprint(
        name=str(run.path if isinstance(run, RunDirectory) else run),
        role=subject.which,
        encoder=f"{spec.name}{width}",
        features=encoder.features,
        image_size=spec.image_size,
        parameters=counted or None,
        bytes=_bytes(subject.path, which, encoder),
        device=device.type,
        latencies=tuple(_latencies(encoder, device)),
    )


def _bytes(path: str | None, which: Which | None, encoder: Encoder) -> int:
    """Of the file that holds the weights; without one, of the weights in their own number format."""
    place = None if path is None else Path(path)
    if place is not None and place.suffix.lower() == ".onnx":
        return sum(file.stat().st_size for file in files_of(place))
    if place is not None and place.is_file():
        return place.stat().st_size
    if place is not None and place.is_dir():
        return choose(place, which).path.stat().st_size
    return sum(value.nbytes for value in encoder.weights().values())


def _latencies(encoder: Encoder, device: torch.device) -> Iterator[Latency]:
    counts: Sequence[int | None] = [n for n in THREADS if n <= processors()] if device.type == "cpu" else [None]
    for threads in counts:
        with _threads(threads):
            for batch in BATCHES:
                yield Latency(batch, threads, 1000 * _seconds(encoder, batch, device))


@torch.inference_mode()
def _seconds(encoder: Encoder, batch: int, device: torch.device) -> float:
    """Median of one pass over `batch` images."""
    side = encoder.spec.image_size
    image = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    encoder(image).sum().item()  # finds its memory and its kernels
    took: list[float] = []
    while len(took) < LEAST or sum(took) < SECONDS:
        began = time.perf_counter()
        encoder(image).sum().item()  # which waits for the device
        took.append(time.perf_counter() - began)
    return statistics.median(took)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads inside."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def head(found: Sequence[Footprint]) -> list[str]:
    """Heads of the columns of `row`."""
    times = [
        f"{one.batch} image{'s' * (one.batch > 1)}"
        + ("" if one.threads is None else f", {one.threads} thread{'s' * (one.threads > 1)}")
        for one in found[0].latencies
    ]
    return ["encoder", "input", "parameters", "on disk", *times]


def row(one: Footprint) -> list[str]:
    """One encoder for people, after its label."""
    parameters = "-" if one.parameters is None else f"{one.parameters / 1e6:.2f} M"
    times = [f"{latency.milliseconds:.3g} ms" for latency in one.latencies]
    return [one.encoder, f"{one.image_size} px", parameters, readable(one.bytes), *times]
