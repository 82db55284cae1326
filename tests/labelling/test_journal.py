"""The journal: what was written counts, once; half a line does not; taking back touches nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from likewise.errors import InputError
from likewise.labelling.groups import groups
from likewise.labelling.journal import Action, LabelJournal, LabelState, checked_class

PATHS = ["a.png", "b.png", "c.png"]


def opened(path: Path, paths: list[str] = PATHS) -> LabelJournal:
    return LabelJournal(path, paths, LabelState(len(paths), ["cat"]))


def act(journal: LabelJournal, name: str, tab: str, rows: list[int], label: str | None) -> None:
    journal.act(Action(name, tab, tuple(rows), label))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    act(journal, "1", "t", [0, 1], "dog")
    act(journal, "2", "t", [2], None)
    act(journal, "1", "t", [0, 1], "dog")  # sent again, because its answer was lost
    assert len((tmp_path / "j").read_text().splitlines()) == 3
    again = opened(tmp_path / "j")  # the first one was not closed: as after kill -9
    again.close()
    assert again.labels.now() == journal.labels.now() == {0: "dog", 1: "dog", 2: None}
    assert again.labels.classes == ["cat", "dog"]
    assert again.labels.revision == 2
    journal.close()


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    act(journal, "1", "t", [0], "dog")
    whole = (tmp_path / "j").read_bytes()
    for length in (1, 20):
        (tmp_path / "j").write_bytes(whole + b'{"id": "2", "tab": "t", "kind": "skip"'[:length])
        again = opened(tmp_path / "j")
        assert again.labels.now() == {0: "dog"}
        again.close()
        assert (tmp_path / "j").read_bytes() == whole
    journal.close()


def test_each_page_takes_back_its_own_last_key(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    act(journal, "1", "left", [0, 1], "dog")
    act(journal, "2", "right", [1, 2], "cat")
    assert journal.undo("3", "left") == (0, 1)
    assert journal.labels.now() == {1: "cat", 2: "cat"}  # what the other page said stays
    assert journal.undo("3", "left") == ()  # sent again
    assert journal.undo("4", "new") == (1, 2)  # a page without keys of its own: the last of all
    assert journal.undo("5", "new") == ()
    again = opened(tmp_path / "j")
    again.close()
    assert again.labels.now() == {}
    journal.close()


def test_a_later_label_wins_and_undo_brings_the_earlier_back(tmp_path: Path) -> None:
    journal = LabelJournal(tmp_path / "j", PATHS, LabelState(3, [], {0: "old"}))
    act(journal, "1", "t", [0], "new")
    assert journal.labels.now() == {0: "new"}
    journal.undo("2", "t")
    assert journal.labels.now() == {0: "old"}
    journal.close()


def test_other_lists_and_damage_are_refused(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j")
    act(journal, "1", "t", [0], "dog")
    journal.close()
    with pytest.raises(InputError, match="another list"):
        opened(tmp_path / "j", ["x.png"])
    (tmp_path / "j").write_text((tmp_path / "j").read_text() + "no line\n")
    with pytest.raises(InputError, match="line 3"):
        opened(tmp_path / "j")


@pytest.mark.parametrize("name", ["", "  ", "nan", "-1", "NA", "x" * 201])
def test_class_names_that_a_list_would_not_give_back(name: str) -> None:
    with pytest.raises(InputError, match="class name"):
        checked_class(name)
    assert checked_class("  two   words ") == "two words"


def test_groups_hold_every_image_once_and_the_like_together() -> None:
    x_ND = torch.cat([torch.tensor([[1.0, 0.0]]).repeat(12, 1), torch.tensor([[0.0, 1.0]]).repeat(7, 1)])
    order = torch.tensor([0, 12, 1, 13, 2, 14, 3, 15, 4, 16, 5, 17, 6, 18, 7, 8, 9, 10, 11])
    found = groups(x_ND[order])
    assert sorted(row for group in found for row in group) == list(range(19))
    assert [len(group) for group in found] == [9, 9, 1]
    assert len({float(x_ND[order][row, 0]) for row in found[0]}) == 1
    apart = groups(x_ND, ["a", "b"] * 9 + ["a"])
    assert all(len({row % 2 for row in group}) == 1 for group in apart)
