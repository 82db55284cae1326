"""The wheel in an environment that knows nothing of this checkout: what it holds, and the first commands of a user.

The packages that likewise needs are not installed again: the new environment sees those of this one, but not its
editable install, since files that end in .pth count in an environment's own folder alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tests.docs.blocks import blocks, budget, commands
from tests.docs.runner import SHELLS, make_photos, shrunk

ROOT = Path(__file__).parents[1]
NOT_DATA = {".py", ".pyc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing a former build left behind can get in."""
    folder = tmp_path_factory.mktemp("wheel")
    copytree(ROOT / "src", folder / "src", ignore=ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, folder], check=True, timeout=120)
    (built,) = folder.glob("likewise-*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "src" / "likewise"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    data = {path.suffix for path in files if path.suffix not in NOT_DATA}
    assert {".js", ".css", ".html", ".json", ".typed"} <= data | {".typed"}
    assert {path.relative_to(folder.parent).as_posix() for path in files} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"likewise"}


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    found = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    site.joinpath("packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", found, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", wheel], check=True, timeout=120)
    return found


# One process for all, since each would import torch again.
SEVERAL = """
import shlex, sys
import likewise
from likewise.cli import main
assert likewise.__file__.startswith(sys.prefix), likewise.__file__
for line in sys.stdin:
    print("$ likewise", line, end="", flush=True)
    if status := main(shlex.split(line)):
        sys.exit(status)
"""


def first_commands(page: str, count: int) -> list[str]:
    """The first commands of a tutorial, with the small budget that tests give them."""
    text = (ROOT / "docs" / "tutorials" / page).read_text(encoding="utf-8")
    shells = [block for block in blocks(text) if block.language in SHELLS and not block.title]
    lines = [line.removeprefix("likewise ") for block in shells for line in commands(block.text)]
    return [" ".join(shrunk(line.split(), budget(text))) for line in lines[:count]]


def test_the_first_commands_of_the_tutorials_run_from_the_wheel(python: Path, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", count=8)
    field, researcher = first_commands("field-biologist.md", 3), first_commands("researcher.md", 1)
    assert [line.split()[0] for line in field + researcher] == ["doctor", "train", "explore", "methods"]
    lines = [*field, *researcher, "audit runs/field photos/ --labels folders --html audit.html --quiet"]
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    environment["LIKEWISE_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run(
        [python, "-c", SEVERAL], cwd=tmp_path, env=environment, input="\n".join(lines), text=True, capture_output=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count("$ likewise") == len(lines)
    for page in ("field.html", "audit.html", "runs/field/report.html"):
        assert "<script" in (tmp_path / page).read_text(encoding="utf-8"), page
    version = subprocess.run([python.with_name("likewise"), "--version"], text=True, capture_output=True, check=True)
    assert version.stdout.startswith("likewise ")
