"""How threads wait is settled by how busy the machine is, before torch is there, and never against the user."""

from __future__ import annotations

import os
import sys

import pytest

from likewise import threads


@pytest.fixture(autouse=True)
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in threads.CHOSEN:
        monkeypatch.setenv(name, "")  # so that what a test leaves there is taken away again
        monkeypatch.delenv(name)


@pytest.mark.parametrize(("share", "policy"), [(0.0, None), (0.4, None), (0.6, "PASSIVE"), (8.0, "PASSIVE")])
def test_threads_sleep_where_the_machine_is_busy(
    share: float, policy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "load", lambda: share * (os.cpu_count() or 1))
    threads.share_processors()
    assert os.environ.get("OMP_WAIT_POLICY") == policy


@pytest.mark.parametrize("name", threads.CHOSEN)
def test_what_the_user_chose_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "load", lambda: 99.0 * (os.cpu_count() or 1))
    monkeypatch.setenv(name, "ACTIVE")
    threads.share_processors()
    assert {key: os.environ[key] for key in threads.CHOSEN if key in os.environ} == {name: "ACTIVE"}


def test_after_torch_is_imported_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "load", lambda: 99.0 * (os.cpu_count() or 1))
    monkeypatch.setitem(sys.modules, "torch", sys)
    threads.share_processors()
    assert "OMP_WAIT_POLICY" not in os.environ
