"""Teachers: a moving average of the student, a frozen network, or a table of vectors made earlier.

A teacher never receives gradient. It is a module, so that what it knows is saved in checkpoints. `pretrained` finds
the frozen one that a setting names.
"""

from __future__ import annotations

from likewise.data.vectors import is_table
from likewise.teachers.callables import named
from likewise.teachers.finding import (
    TEACHERS,
    check_asked,
    check_covers,
    check_pretrained,
    digest_of,
    pretrained,
    taken_from,
)
from likewise.teachers.networks import Channels, Frozen, Momentum, Refit, Refitted, evaluated, with_statistics_of
from likewise.teachers.older import check_encoder, of_index, trained_encoder
from likewise.teachers.teacher import Teacher, of_encoder, teachers_in

__all__ = [
    "TEACHERS",
    "Channels",
    "Frozen",
    "Momentum",
    "Refit",
    "Refitted",
    "Teacher",
    "check_asked",
    "check_covers",
    "check_encoder",
    "check_pretrained",
    "digest_of",
    "evaluated",
    "is_table",
    "named",
    "of_encoder",
    "of_index",
    "pretrained",
    "taken_from",
    "teachers_in",
    "trained_encoder",
    "with_statistics_of",
]
