"""`pytest tests/golden --golden DIR`: run every adapter against the vectors in DIR."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapters import Vectors, all_adapters


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per check of each adapter, and one per adapter for the completeness test."""
    adapters = all_adapters()
    if "check" in metafunc.fixturenames:
        cases = [(name, check) for name, adapter in adapters.items() for check in adapter.checks]
        metafunc.parametrize(("method", "check"), cases, ids=[f"{n}-{c.__name__}" for n, c in cases])
    elif "adapter" in metafunc.fixturenames:
        metafunc.parametrize(("method", "adapter"), list(adapters.items()), ids=list(adapters))


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of vectors under test."""
    return Path(request.config.getoption("--golden"))


@pytest.fixture
def vectors(folder: Path, method: str) -> Vectors:
    """The vectors of one method; skips where the folder has none for it."""
    path = folder / f"{method}.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {folder}")
    return Vectors(path)
