"""What a card says of its method is acted on."""

from __future__ import annotations

import pytest
import torch

from likewise import methods
from likewise.methods.parts.checks import skew_note

DEPLOY_THE_TEACHER = {"dino", "esvit", "hiermatch", "ncc"}
"""Methods whose published evaluation takes the teacher; that of all others takes the student."""


@pytest.mark.parametrize("name", methods.names())
def test_what_is_deployed_is_what_the_paper_evaluates(name: str) -> None:
    assert methods.find(name).card.deploy == ("teacher" if name in DEPLOY_THE_TEACHER else "student")


@pytest.mark.parametrize(
    ("method", "counts", "said"),
    [
        ("swav", (90, 30, 60), "3 times as many images"),
        ("dino", (13, 1), "13 times as many"),
        ("swav", (80, 30, 60), None),
        ("isd", (90, 1), None),
        ("swav", (), None),
    ],
)
def test_skewed_data_are_named_where_a_method_assumes_balance(
    method: str, counts: tuple[int, ...], said: str | None
) -> None:
    labels = torch.tensor([-1] * 1000 + [kind for kind, count in enumerate(counts) for _ in range(count)])
    note = skew_note(methods.find(method).card, labels)
    assert (note is None) == (said is None)
    assert said is None or said in str(note)
    assert skew_note(methods.find(method).card, None) is None
