"""Randomness as a function of (seed, step): a resumed run draws what the uninterrupted one would have drawn."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from any numbers and names, well spread and the same on every machine and Python version."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, step: int, role: str) -> torch.Generator:
    """A CPU generator for one purpose (`role`) at one step, independent of every other step and role."""
    return torch.Generator().manual_seed(derived_seed(seed, step, role))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Reseed torch's global generators (all devices) before a step.

    Dropout and stochastic depth draw from the global generators, whose state would otherwise have to be saved for each
    device and process. With a state that depends on the step alone there is nothing to save. Processes get different
    seeds, because they see different images.
    """
    torch.manual_seed(derived_seed(seed, step, rank, "global"))
