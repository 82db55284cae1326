"""`make env` and `make demo` as a newcomer sees them: a line a stage, and the end of the log where one fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
# Stands for a Python that makes an environment of itself, installs with many words, and runs the demo.
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip") for n in $(seq 200); do echo "Collecting package-$n"; done
    case "$*" in *"$BREAK"*) echo "No space left on device" >&2; exit 7 ;; esac ;;
  "-m likewise.demo") shift 2; echo "demo: $*" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What `make` needs of the project, and a Python that only pretends."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/stage"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(clone: Path, *words: str, breaks: str = "nothing breaks") -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"PYTHON={clone / 'python'}", *words]
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "BREAK": breaks}
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


def test_a_line_a_stage_and_the_rest_in_the_log(clone: Path) -> None:
    done = make(clone, "demo")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["Creating", "Installing", "Installing", "demo:"]
    assert "GB" in lines[1]
    assert done.stderr == ""
    assert (clone / ".venv/install.log").read_text().count("Collecting package-200") == 2
    again = make(clone, "demo", "DATA=my photos/it's here")
    assert again.stdout == "demo: --data my photos/it's here\n"


def test_a_stage_that_fails_shows_the_end_of_its_log_and_stops(clone: Path) -> None:
    done = make(clone, "demo", breaks="torch torchvision")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["Creating", "Installing"]
    assert "No space left on device" in done.stderr
    assert ".venv/install.log" in done.stderr
    assert 20 <= done.stderr.count("Collecting") <= 30
    assert make(clone, "demo").stdout.splitlines()[-1].startswith("demo:")
