"""`likewise upgrade`: replace the encoder of an index while it is in use."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from likewise.cli.shared import print_next


@dataclass(frozen=True, kw_only=True)
class UpgradeWords:
    """Arguments of `likewise upgrade`."""

    index: Annotated[Positional[str], tyro.conf.arg(metavar="INDEX")]
    """An index that `likewise embed` wrote, such as photos.index."""
    to: str | None = None
    """The new encoder: a run directory, a weights file, or a timm model with --pretrained."""
    plan: bool = False
    """Measure every way to the new encoder and change nothing."""
    rollback: bool = False
    """Give all rows their old vectors back."""
    data: str | None = None
    """The data that the rows came from, where their paths do not lead to the images."""
    labels: str | None = None
    """Column that says what a query should find, by default label; none: the neighbours by the new encoder are that."""
    gate: float | None = None
    """Least change in what is found (0.01: a point), at the lower end of its interval, by default 0; -1 takes all."""
    budget: str | None = None
    """How much to do now: rows (1000), a share (25%), seconds (90s) or minutes (10m); by default all."""
    order: Literal["best", "random", "popular", "unpopular", "moved", "steady"] | None = None
    """Which vectors come first; best, the default, is found on the images of the plan."""
    sample: int | None = None
    """Images that the plan is made with, by default 10,000."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of a run; by default the one that its method deploys."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    html: str | None = None
    """Write the plan as a page, with the curve and queries before and after; of one that goes on, its first."""
    json: bool = False
    """Print one JSON object."""
    quiet: bool = False
    """Print the result and nothing else."""


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(UpgradeWords, words, "likewise upgrade", "Change the encoder of an index while it is in use.")
    from likewise.commands import command
    from likewise.training.watching.progress import decoding
    from likewise.verbs.using.upgrade import upgrade

    stopping = _Stopping()
    taken = ("to", "plan", "rollback", "data", "budget", "which", "pretrained", "html")
    settings = ("labels", "gate", "order", "sample")
    how = {name: getattr(parsed, name) for name in (*taken, *settings)}
    with decoding(parsed.index, enabled=not parsed.quiet) as progress:
        done = upgrade(parsed.index, stop=stopping, progress=progress, **how)
    print(json.dumps(done.to_json(), indent=2) if parsed.json else done)
    if parsed.json or parsed.quiet:
        return
    if parsed.html is not None:
        print(f"page    {parsed.html}")
    if parsed.plan and done.sheet is not None and not done.sheet.allows_all:
        return  # the gate would refuse the upgrade, too
    carried = ("data", *settings, "which", "pretrained")
    same = {name: getattr(parsed, name) for name in carried if getattr(parsed, name) != getattr(UpgradeWords, name)}
    if parsed.plan or (done.done is not None and done.done.paused):
        print_next(command("upgrade", done.path, to=parsed.to, **same))
    elif done.done is not None:
        print_next(command("upgrade", done.path, rollback=True))


class _Stopping:
    """Whether somebody asked for a pause: the batch that is under way is finished first."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __call__(self) -> bool:
        return self.asked
