"""The fingerprint of an embedding space: encoder, input, and layer that is read. Vectors of two spaces never mix.

Two spaces are one where the facts that decide it are equal (weights, size, share of the image, filter, means,
deviations, layer, normalisation, dimensions) and the vectors of the probe images agree within the numeric noise that
was measured when the fingerprint was taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import cached_side
from likewise.data.fingerprints import digest
from likewise.encoders import Encoder
from likewise.encoders.embedding import view_of
from likewise.errors import InputError
from likewise.index import probes
from likewise.index.weights import weights_of

EXACT = ("weights", "image_size", "fraction", "resize", "mean", "std", "layer", "normalisation", "dimensions")
"""Facts that must be equal."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The facts that define an embedding space; see `of_encoder` and `named`."""

    name: str
    """Encoder, or what the vectors are called by who brought them."""
    dimensions: int
    """D."""
    weights: str
    """Digest of all values of the weights; of vectors from elsewhere, of their name."""
    image_size: int | None = None
    """Side of the encoder's input in pixels."""
    fraction: float | None = None
    """Share of the short side that it sees."""
    resize: str | None = None
    """How images are reduced."""
    mean: tuple[float, ...] | None = None
    """Channel means."""
    std: tuple[float, ...] | None = None
    """Channel deviations."""
    layer: str = "pooled"
    """Where in the encoder the vector is read."""
    normalisation: str = "unit"
    """Vectors are stored with unit length, and their own length beside them."""
    noise: float = 0.0
    """Largest distance between probe vectors of one encoder computed in several ways (`probes.noise`)."""
    probes: tuple[tuple[float, ...], ...] = ()
    """(P, D) vectors of the probe images; empty where there is no encoder."""
    encoder: str | None = None
    """File of the weights, where it lay when the space was made."""
    compatible: tuple[str, ...] = ()
    """Fingerprints of older spaces whose vectors may be compared with those of this one."""

    @classmethod
    def of_encoder(cls, encoder: Encoder, *, measured: bool = True) -> Space:
        """The space of an encoder's pooled features. Without `measured`, noise is not known (for a comparison)."""
        spec, view = encoder.spec, view_of(encoder.spec)
        vectors_PD = probes.vectors(encoder)
        if not np.isfinite(vectors_PD).all():
            raise InputError(f"the features of {spec.name} are not finite numbers: the encoder diverged or is damaged")
        return cls(
            name=spec.name,
            dimensions=vectors_PD.shape[1],
            weights=weights_of(encoder),
            image_size=spec.image_size,
            fraction=view.crop.fraction if hasattr(view.crop, "fraction") else 1.0,
            resize=f"lanczos to {cached_side(spec.image_size)}, then {view.interpolation}, antialiased",
            mean=tuple(spec.mean),
            std=tuple(spec.std),
            noise=probes.noise(encoder, vectors_PD) if measured else 0.0,
            probes=tuple(tuple(float(f"{value:.7g}") for value in row) for row in vectors_PD),
        )

    @classmethod
    def named(cls, name: str, dimensions: int) -> Space:
        """A space that only its name tells from others, for vectors that another program made."""
        return cls(name=name, dimensions=dimensions, weights=digest("named", name))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the facts that must be equal."""
        return digest(*(getattr(self, name) for name in EXACT))[:16]

    @property
    def tolerance(self) -> float:
        """Distance between probe vectors from which on two spaces are two."""
        return probes.MARGIN * self.noise

    @property
    def has_encoder(self) -> bool:
        """Whether images can be embedded into it."""
        return bool(self.probes)

    def differences(self, other: Space) -> list[str]:
        """Differences of `other` from this space, one line for each fact; empty where they are one."""
        faults = [
            f"{name.replace('_', ' ')} {_short(getattr(other, name))}, not {_short(getattr(self, name))}"
            for name in EXACT
            if getattr(self, name) != getattr(other, name)
        ]
        if not faults and self.probes and other.probes:
            apart, allowed = self.distance(other), max(self.tolerance, other.tolerance)
            if apart > allowed:
                faults.append(
                    f"probe images lie {apart:.2g} of their spread apart, where {allowed:.2g} is numeric noise"
                )
        return faults

    def distance(self, other: Space) -> float:
        """Between the probe vectors of both (`probes.distance`)."""
        return probes.distance(self.vectors_of_probes, other.vectors_of_probes)

    @property
    def vectors_of_probes(self) -> NDArray[np.float32]:
        """(P, D)."""
        return np.asarray(self.probes, np.float32)

    def check(self, other: Space, where: object) -> None:
        """Raise InputError where `other` is another space: vectors of the two must not be put together in `where`."""
        found = self.differences(other)
        if found:
            raise InputError(
                f"{where} holds vectors of {self.name} ({self.fingerprint}) and these are of {other.name}: "
                f"{'; '.join(found)}; put them into an index of their own"
            )

    def following(self, *older: Space) -> Space:
        """The same space, compatible with `older` ones by training: their vectors are compared with its own."""
        kept = dict.fromkeys([*self.compatible, *(one.fingerprint for one in older)])
        return replace(self, compatible=tuple(kept))

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, where: object) -> Space:
        """Read the output of `to_json`. Raises InputError, which names `where`, for anything else."""
        try:
            found: Mapping[str, Any] = json.loads(text)
            known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
            for name in ("mean", "std", "compatible"):
                if known.get(name) is not None:
                    known[name] = tuple(known[name])
            known["probes"] = tuple(tuple(row) for row in known.get("probes", ()))
            return cls(**known)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{where} does not say which embedding space its vectors are of: {error}") from error


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:12]}..."
