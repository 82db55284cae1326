"""`likewise.upgrade`: the expected change of an index by a new encoder, and the replacement of its vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from likewise.errors import InputError
from likewise.evaluation.encoder_source import Run, open_subject
from likewise.files import check_file, write_aside
from likewise.index import Index, Space, open_index
from likewise.index.embedding.embed import address_of, space_of
from likewise.upgrading import journal as journals
from likewise.upgrading.examples import page_of
from likewise.upgrading.images import Looker, RowImages
from likewise.upgrading.journal import UpgradeJournal
from likewise.upgrading.order import Order, RefreshPoint
from likewise.upgrading.planning import Planned, PlanSettings, plan_of, sheet_lines
from likewise.upgrading.refreshing import Budget, Progress, RefreshCounts, refresh, roll_back
from likewise.upgrading.sheet import ALL, AS_IT_IS, Sheet


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """The result of `upgrade`, or of its plan."""

    path: str
    """The index."""
    fingerprint: str
    """Of the space that the index is in now, or that it would go to."""
    sheet: Sheet | None
    """The plan; None where an upgrade goes on, and after a rollback."""
    order: Order | str | None
    """In which order vectors are replaced."""
    curve: tuple[RefreshPoint, ...]
    """What is found with a share of the vectors replaced in that order, on the images of the plan."""
    random: tuple[RefreshPoint, ...]
    """The same in random order."""
    done: RefreshCounts | None
    """What was refreshed; None for a plan and a rollback."""
    rolled_back: int | None = None
    """Vectors that were taken back."""
    compatible: bool = False
    """Whether new queries are compared with old vectors while both are in the index."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        described: dict[str, Any] = {"path": self.path, "fingerprint": self.fingerprint}
        if self.sheet is not None:
            described |= self.sheet.record()
        if self.curve:
            described |= {
                "order": self.order,
                "curve": [list(p) for p in self.curve],
                "random": [list(p) for p in self.random],
            }
        if self.done is not None:
            described |= {**self.done._asdict(), "compatible": self.compatible}
        if self.rolled_back is not None:
            described["rolled_back"] = self.rolled_back
        return described

    def __str__(self) -> str:
        """Lines for people."""
        lines = [] if self.sheet is None else sheet_lines(self.sheet)
        if self.curve:
            names = " ".join(f"{100 * point.fraction:>6.0f}%" for point in self.curve)
            lines += ["", f"{'refreshed':<20}{names}"]
            for name, points in ((f"{self.order} order", self.curve), ("random order", self.random)):
                lines.append(f"{name:<20}" + " ".join(f"{100 * point.found:>6.1f}%" for point in points))
        if self.done is not None:
            done = self.done
            lines.append(f"{done.refreshed:,} refreshed, {done.new:,} of {done.rows:,} rows are new")
            if done.lost:
                lines.append(f"note    {done.lost:,} images could not be had; their rows keep their old vectors")
            if done.paused and not self.compatible:
                lines.append(
                    "note    old and new vectors are not compatible: meanwhile images are searched by both encoders"
                )
        if self.rolled_back is not None:
            lines.append(f"{self.rolled_back:,} rows have their old vectors back")
        return "\n".join(lines)


def upgrade(
    index: str | Path | Index,
    *,
    to: Run | None = None,
    plan: bool = False,
    rollback: bool = False,
    data: Any = None,
    labels: str | None = None,
    gate: float | None = None,
    budget: str | None = None,
    order: Order | Literal["best"] | None = None,
    sample: int | None = None,
    which: Literal["student", "teacher"] | None = None,
    pretrained: bool = False,
    html: str | Path | None = None,
    seed: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> Upgrade:
    """Change the encoder of an index: measure every way to it (`plan`), or replace the vectors while it is in use.

    `to` is the new encoder: a run, a weights file, or a timm name with `pretrained`. Images are found by the paths of
    the rows, or by their ids in `data`. The plan is made first, by `labels`, `gate`, `order`, `sample` and `seed`
    (`PlanSettings`), and where re-embedding does not pass the gate nothing is changed. Vectors are replaced in that
    order until all are, or the `budget` is used up (`1000` rows, `25%`, `90s`, `10m`), or `stop` says so after a batch.
    The same call goes on, after an end at any moment, by the plan that it began with (`html` is its page), and looks
    again for images that could not be had. `rollback` gives all rows their old vectors back, in one change.

    Raises InputError for an index or encoder that is not there, where the gate is not passed, where another upgrade is
    under way or this one was begun with other settings, and where another process writes; DiskFull, with the index
    whole.
    """
    given = _given(labels=labels, gate=gate, order=order, sample=sample, seed=seed)
    others = _given(to=to, plan=plan or None, html=html, budget=budget, which=which, pretrained=pretrained or None)
    _check_asked(others | given, rollback=rollback)
    opened = index if isinstance(index, Index) else open_index(index)
    opened.refresh()
    if to is None:
        return _rolled_back(opened, data)
    begun = journals.read(opened)
    subject = open_subject(to, which, pretrained=pretrained)
    space = space_of(subject.encoder.eval(), subject.path)
    under_way = begun if begun is not None and _goes_on(opened, begun, space) else None
    _check_goal(opened, begun, under_way, space)
    if under_way is not None:
        _check_settings(opened, under_way, given, plan=plan)
    where = data if data is not None or under_way is None else under_way.data
    looker = Looker(subject.encoder, RowImages(opened, where, subject.ranges() or opened.ranges(opened.current)))
    change = partial(_changed, opened, begun, space, looker, Budget.parse(budget, len(opened)), stop, progress)
    if under_way is not None:
        _write_page(html, None if html is None else under_way.page)
        return change()
    settings = PlanSettings(**given)
    made = plan_of(opened, looker, settings)
    page = b"" if plan and html is None else page_of(opened, looker.images, made.shown).encode("utf-8", "replace")
    _write_page(html, page)
    if plan:
        return _planned_only(opened, space, made)
    _check_gate(made.sheet)
    return replace(change(partial(_begun, opened, space, made, settings, page, to, data)), sheet=made.sheet)


def _given(**values: Any) -> dict[str, Any]:
    """Those that are not left to their defaults."""
    return {name: value for name, value in values.items() if value is not None}


def _check_asked(given: Mapping[str, Any], *, rollback: bool) -> None:
    """Raise InputError unless there is a new encoder, or the old vectors are taken back and nothing else is asked."""
    if rollback and given:
        out = ", ".join(f"--{name}" for name in given)
        raise InputError(f"rollback gives the old vectors back, and takes no new encoder and no plan: leave {out} out")
    if "to" not in given and not rollback:
        raise InputError("name the new encoder with --to, or take the old vectors back with --rollback")
    if "html" in given:
        check_file(Path(given["html"]))


def _goes_on(index: Index, begun: UpgradeJournal, space: Space) -> bool:
    """Whether an upgrade is under way; one that had to leave rows out, for want of their images, is until they have
    their vectors.
    """
    left_out = begun.status == "finished" and begun.to == space.fingerprint and len(index.held_spaces()) > 1
    return begun.status == "running" or left_out


def _check_settings(index: Index, begun: UpgradeJournal, given: Mapping[str, Any], *, plan: bool) -> None:
    """Refuse another plan of an upgrade that is under way, and settings that its own plan was not made by."""
    if plan:
        raise InputError(f"{index.path} is between two encoders: finish the upgrade, or take it back, to plan another")
    for name, value in given.items():
        before = begun.settings.get(name, value)
        if value != before:
            raise InputError(
                f"the upgrade of {index.path} was begun with --{name} {before}, not {value}, and goes on by its plan: "
                f"leave --{name} out, or take the upgrade back with --rollback and begin anew"
            )


def _write_page(path: str | Path | None, page: bytes | None) -> None:
    """Write the page of a plan where one is asked for. Raises InputError where it was not kept."""
    if path is None:
        return
    if page is None:
        raise InputError("the page of this upgrade's plan was not kept by the version of likewise that began it")
    with write_aside(Path(path)) as file:
        file.write(page)


def _planned_only(index: Index, space: Space, made: Planned) -> Upgrade:
    """A plan as a result."""
    return Upgrade(
        path=index.path,
        fingerprint=space.fingerprint,
        sheet=made.sheet,
        order=made.order if made.curve else None,
        curve=made.curve,
        random=made.random,
        done=None,
    )


def _begun(
    index: Index, space: Space, made: Planned, settings: PlanSettings, page: bytes, encoder: Run, data: Any
) -> UpgradeJournal:
    """Write down that an upgrade begins."""
    fitting = made.sheet.arm(AS_IT_IS)
    return journals.begin(
        index,
        made.order_N.numpy(),
        page,
        to=space.fingerprint,
        before=index.current,
        space=next(
            (at for at, one in enumerate(index.spaces) if one.fingerprint == space.fingerprint), len(index.spaces)
        ),
        encoder=str(encoder),
        data=address_of(data) if isinstance(data, str | Path) else None,
        settings=asdict(settings),
        order=made.order,
        curve=made.curve,
        random=made.random,
        measure=made.sheet.measure,
        compatible=fitting is not None and fitting.difference.mean >= 0,  # whatever the gate lets through
        sheet=made.sheet.record(),
    )


def _check_goal(index: Index, begun: UpgradeJournal | None, under_way: UpgradeJournal | None, space: Space) -> None:
    """Refuse an empty index, a second upgrade beside one, and one to where the index is."""
    if not len(index):
        raise InputError(f"{index.path} is empty: embed into it by the new encoder at once")
    if under_way is not None and under_way.to != space.fingerprint:
        raise InputError(
            f"an upgrade of {index.path} to {under_way.encoder} is under way: go on with --to {under_way.encoder}, or "
            "take it back with --rollback"
        )
    held = index.held_spaces()
    if under_way is None and len(held) == 1 and not index.spaces[held[0]].differences(space):
        raise InputError(f"the vectors of {index.path} are of this encoder already ({space.fingerprint})")
    if under_way is None and len(held) > 1:
        before = "" if begun is None else f"go on with --to {begun.encoder}, take it back with --rollback, or "
        raise InputError(f"{index.path} holds vectors of {len(held)} spaces: {before}embed it anew")


def _check_gate(sheet: Sheet) -> None:
    whole = sheet.arm(ALL)
    assert whole is not None
    if not sheet.allows_all:
        low, mean = 100 * whole.difference.low, 100 * whole.difference.mean
        raise InputError(
            f"refused: re-embedding changes what is found by {mean:+.1f} points, at worst {low:+.1f}, and the gate is "
            f"{100 * sheet.gate:+.1f}; nothing was changed (--gate sets another, -1 lets all through)"
        )


def _rolled_back(index: Index, data: Any) -> Upgrade:
    with index.writing():
        begun = journals.read(index)
        if begun is None or begun.status == "rolled back":
            raise InputError(f"{index.path} has no upgrade that could be taken back")
        count = roll_back(index, begun, data)
    return Upgrade(
        path=index.path,
        fingerprint=index.fingerprint,
        sheet=None,
        order=None,
        curve=(),
        random=(),
        done=None,
        rolled_back=count,
    )


def _changed(
    index: Index,
    begun: UpgradeJournal | None,
    space: Space,
    looker: Looker,
    budget: Budget,
    stop: Callable[[], bool],
    progress: Progress | None,
    begin: Callable[[], UpgradeJournal] | None = None,
) -> Upgrade:
    """Replace vectors by the journal that was `begun`, or that `begin` gives.

    Raises InputError where another process has changed the index or its journal since: what it did would be undone, or
    the way back from it lost.
    """
    with index.writing():
        if journals.read(index) != begun or not looker.images.are_of(index):
            raise InputError(f"{index.path} was changed meanwhile by another process: give the same command again")
        journal = begun if begin is None else begin()
        assert journal is not None
        if journal.compatible:
            space = space.following(index.spaces[journal.before])
        done = refresh(index, journal, space, looker, budget, stop=stop, progress=progress)
    return Upgrade(
        path=index.path,
        fingerprint=space.fingerprint,
        sheet=None,
        order=journal.order,
        curve=tuple(RefreshPoint(*pair) for pair in journal.curve),
        random=tuple(RefreshPoint(*pair) for pair in journal.random),
        done=done,
        compatible=journal.compatible,
    )
