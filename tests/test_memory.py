"""The memories against the simplest thing that could hold rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.memory import LABEL, Bank, Column, History, Queue


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, 17), batches=st.lists(st.integers(0, 40), max_size=8))
def test_queue_equals_a_list_written_modulo_its_size(size: int, batches: list[int]) -> None:
    queue = Queue(size, 3, columns={"label": LABEL})
    rows, labels = queue.rows.clone(), [-1] * size
    position = 0
    for number, batch in enumerate(batches):
        new = torch.full((batch, 3), float(number)) + torch.arange(batch).unsqueeze(1) / 100
        queue.push(new, label=torch.arange(batch) + 1000 * number)
        for i in range(batch):
            rows[position], labels[position] = new[i], i + 1000 * number
            position = (position + 1) % size
    assert queue.rows.equal(rows)
    assert queue.column("label").tolist() == labels
    assert queue.position == position
    assert len(queue) == min(size, sum(batches))


def test_queue_survives_saving() -> None:
    torch.manual_seed(0)
    queue = Queue(5, 2, columns={"label": LABEL, "second": Column(fill=0.0, width=4, dtype=torch.float32)})
    queue.push(torch.randn(3, 2), label=torch.arange(3), second=torch.randn(3, 4))
    other = Queue(5, 2, columns={"label": LABEL, "second": Column(fill=0.0, width=4, dtype=torch.float32)})
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.push(torch.ones(4, 2), label=torch.arange(4))
    assert other.rows.equal(queue.rows)
    assert other.column("second").equal(queue.column("second"))
    assert other.column("second")[3].eq(0).all()
    assert len(other) == 5


def test_a_queue_knows_which_rows_are_noise() -> None:
    queue = Queue(6, 3)
    for batch, filled in ((4, 4), (4, 6)):
        queue.push(torch.ones(batch, 3))
        expected = torch.arange(1, 6).unsqueeze(0) >= filled
        assert queue.unwritten(1, 6).equal(expected)


def test_noise_has_unit_rows_or_unit_columns() -> None:
    torch.testing.assert_close(Queue(50, 8).rows.norm(dim=1), torch.ones(50))
    by_columns = Queue(50, 8, noise="columns").rows
    torch.testing.assert_close(by_columns.norm(dim=0), torch.ones(8))
    assert by_columns.norm(dim=1).mean() < 0.6


def test_queue_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Queue(0, 4)
    with pytest.raises(InputError, match="no column labels: it has label"):
        Queue(4, 2, columns={"label": LABEL}).push(torch.zeros(1, 2), labels=torch.zeros(1))


def test_queue_takes_half_precision_rows() -> None:
    queue = Queue(4, 2)
    queue.push(torch.ones(2, 2, dtype=torch.bfloat16))
    assert queue.rows.dtype == torch.float32


def test_bank_first_write_then_moving_unit_rows() -> None:
    bank = Bank(4, 3, momentum=0.5)
    first, second = torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 0]])
    bank.write(torch.tensor([2]), first)
    assert bank.rows[2].equal(first[0])
    bank.write(torch.tensor([2]), second)
    torch.testing.assert_close(bank.rows[2], torch.tensor([0.5, 0.5, 0]) / 0.5**0.5)
    assert bank.written.tolist() == [False, False, True, False]


def test_bank_centroids_are_unit_means_of_written_members() -> None:
    bank = Bank(4, 2)
    bank.write(torch.tensor([0, 1]), torch.tensor([[1.0, 0], [0, 1.0]]))
    centroids = bank.centroids(torch.tensor([0, 0, 1, -1]), 2)
    torch.testing.assert_close(centroids[0], torch.tensor([0.5, 0.5]) / 0.5**0.5)
    assert centroids[1].eq(0).all()


def test_bank_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match="needs 1 or more"):
        Bank(3, 2, momentum=1.0)


def test_a_sliding_queue_writes_over_its_end_instead_of_wrapping() -> None:
    queue = Queue(5, 1, columns={"label": LABEL}, end="slide")
    for first, count in ((0, 3), (3, 3), (6, 2)):
        rows = torch.arange(first, first + count)
        queue.push(rows[:, None].float(), label=rows)
    # 0 1 2, then 3 4 5 slid back over 2, then on at the beginning
    assert queue.column("label").tolist() == [6, 7, 3, 4, 5]
    assert queue.rows[:, 0].tolist() == [6, 7, 3, 4, 5]
    assert queue.position == 2
    queue.push(torch.arange(10.0, 17.0)[:, None])
    assert queue.rows[:, 0].tolist() == [12, 13, 14, 15, 16]
    assert queue.position == 0


def test_history_keeps_the_last_two_embeddings_of_each_image() -> None:
    history = History(4, 2)
    index = torch.tensor([2, 0])
    history.write(index, torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    assert history.has_older(torch.arange(4)).tolist() == [False] * 4
    history.write(torch.tensor([2]), torch.tensor([[3.0, 3.0]]))
    assert history.has_older(torch.arange(4)).tolist() == [False, False, True, False]
    assert history.older(torch.tensor([2])).tolist() == [[1.0, 1.0]]
    history.write(torch.tensor([2]), torch.tensor([[4.0, 4.0]]))
    assert history.older(torch.tensor([2])).tolist() == [[3.0, 3.0]]
    with pytest.raises(InputError, match="at least 1"):
        History(0, 2)


def test_uniform_noise_is_within_its_bound_and_of_about_unit_norm() -> None:
    rows = Queue(500, 48, noise="uniform").rows
    assert rows.abs().max() <= (3 / 48) ** 0.5
    torch.testing.assert_close(rows.square().sum(1).mean(), torch.tensor(1.0), atol=0.03, rtol=0)
