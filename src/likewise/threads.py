"""The waiting policy of torch's threads, set before torch is imported, so importing this needs no torch."""

from __future__ import annotations

import os
import sys

BUSY = 0.5
"""Load per processor, over the last minute, above which others are taken to want the processors too."""
CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""By these the user says how threads wait."""


def share_processors() -> None:
    """Let waiting threads sleep, instead of spin, where the machine is busy.

    On an idle machine spinning is a tenth faster. Two trainings with as many threads as processors each, though, spin
    in each other's way: on two cores both ran at a quarter of the speed alone, and at half of it, as they should, with
    threads that sleep. Once torch is imported, or where the user has chosen, nothing is changed.
    """
    if "torch" in sys.modules or any(name in os.environ for name in CHOSEN):
        return
    if load() > BUSY * (os.cpu_count() or 1):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def load() -> float:
    """Processes that ran or waited to run over the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
