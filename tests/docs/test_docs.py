"""What the documentation shows is run; what it cannot run says why; what it links to exists."""

from __future__ import annotations

import json
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import likewise
from likewise import methods
from likewise.methods import listing
from likewise.methods.drawing import drawings, idea_of
from likewise.methods.pages import FIGURES, field_docs
from likewise.methods.pages import pages as method_pages
from tests.docs.blocks import Block, blocks, budget, commands, pages
from tests.docs.runner import SHELLS, Page, make_photos, shrinking, shrunk

ROOT = Path(__file__).resolve().parents[2]
PAGES = pages(ROOT)
RUNNABLE = SHELLS | {"python"}


def runnable(path: Path) -> list[Block]:
    """Blocks of a page that are run, or that say why they are not."""
    found = blocks(path.read_text(encoding="utf-8"))
    return [block for block in found if block.language in RUNNABLE or block.title]


def with_code() -> list[Path]:
    """Pages that show something to run; the generated ones show one line each and are covered by the first of them."""
    generated = [path for path in PAGES if path.parent.name == "methods"]
    once = [path for path in PAGES if path not in generated[2:]]
    return [path for path in once if any(block.not_run is None for block in runnable(path))]


@pytest.mark.parametrize("path", with_code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_code_of_the_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text(encoding="utf-8")
    make_photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(likewise, "train", shrinking(likewise.train, budget(text)), raising=False)
    page = Page(ROOT, tmp_path, budget(text))
    for block in runnable(path):
        try:
            page.run(block)
        except Exception as error:
            raise AssertionError(f"{path.relative_to(ROOT)}:{block.line}: {error}") from error


def test_few_blocks_are_not_run() -> None:
    every = [block for path in PAGES for block in runnable(path)]
    left_out = [block for block in every if block.not_run is not None]
    assert len(every) > 30
    assert len(left_out) < len(every) / 4, "most of what the pages show has to be run"


LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]+)?(?:#([\w-]+))?\)")


def anchors(path: Path) -> set[str]:
    """Anchors that the headings of a page make."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        other = (path.parent / target).resolve() if target else path
        assert other.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(other), f"{path.name} links to {target}#{anchor}"


def test_every_page_is_reachable_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "docs" / "index.md"]
    while todo:
        path = todo.pop()
        if path in seen or path.suffix != ".md":
            continue
        seen.add(path)
        targets = [target for target, _ in LINK.findall(path.read_text(encoding="utf-8")) if target]
        todo.extend((path.parent / target).resolve() for target in targets)
    assert set(PAGES) - seen <= {ROOT / "README.md"}


def flags_of(verb: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Flags in the help of a verb, each once (`--no-report` counts as `--report`)."""
    from likewise.cli import main

    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert not stop.value.code
    return {re.sub("^--no-", "--", flag) for flag in re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)} - {
        "--help"
    }


VERBS = (
    "train", "evaluate", "finetune", "compare", "localise", "export", "convert", "cache", "select", "label", "predict",
    "explore",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_tables_name_the_flags_that_there_are(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from likewise.methods.isd import ISD

    text = (ROOT / "docs" / "verbs" / f"{verb}.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`--[^|]+)\|", text, re.MULTILINE)
    written = {re.sub("^--no-", "--", flag) for cell in first_cells for flag in re.findall(r"--[a-z-]+", cell)}
    own = {f"--{name.replace('_', '-')}" for name in field_docs(ISD.Settings)} if verb == "train" else set()
    assert written == flags_of(verb, capsys) - own


def test_method_pages_are_up_to_date() -> None:
    folder = ROOT / "docs" / "methods"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert committed == method_pages(), "the methods have changed: run `make docs`"
    drawn = {path.name: path.read_text(encoding="utf-8") for path in (folder / FIGURES).glob("*.svg")}
    assert drawn == drawings(), "a loss has changed: run `make docs`"
    ideas = {name: idea_of(methods.find(name)) for name in methods.own_names()}
    assert [name for name, idea in ideas.items() if idea is None] == []
    assert {idea.name for idea in ideas.values() if idea is not None} == {Path(name).stem for name in drawn}


def test_the_list_of_methods_is_up_to_date() -> None:
    written = json.loads(listing.FILE.read_text(encoding="utf-8"))
    assert written == [listing.entry(name) for name in methods.own_names()], "the methods have changed: run `make docs`"
    found = [module.name for module in pkgutil.iter_modules(methods.__path__)]
    assert [name for name in found if methods._defined_in(name) is not None] == methods.own_names()


EXAMPLE = """
<!-- budget: epochs=2 -->
```python
one = 1
```
<!-- not run: needs a cluster -->

```bash
torchrun train
```
- in a list:

  ```console
  $ likewise methods \\
      --json
  {"methods": []}
  ```

```python title="own.py"
raise SystemExit
```
"""


def test_blocks_are_read_as_they_are_shown() -> None:
    first, second, third, fourth = blocks(EXAMPLE)
    assert first == Block(3, "python", None, "one = 1\n", None)
    assert second.not_run == "needs a cluster"
    assert [command.split() for command in commands(third.text)] == [["likewise", "methods", "--json"]]
    assert (third.language, third.not_run) == ("console", None)
    assert fourth.title == "own.py"
    assert budget(EXAMPLE) == {"epochs": "2", "width": "8"}


def test_a_block_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        blocks("text\n```python\none = 1\n")


def test_budgets_are_shrunk_and_the_rest_stays() -> None:
    small = {"epochs": "1", "width": "8"}
    asked = ["train", "photos/", "--minutes", "30", "--method", "isd", "--width", "64"]
    assert shrunk(asked, small) == ["train", "photos/", "--method", "isd", "--epochs", "1", "--width", "8"]
    assert shrunk(["evaluate", "runs/first", "photos/"], small) == ["evaluate", "runs/first", "photos/"]


def test_commands_that_cannot_be_checked_are_refused(tmp_path: Path) -> None:
    page = Page(ROOT, tmp_path, {})
    page.command("make test")
    with pytest.raises(AssertionError, match="not run"):
        page.command("curl example.org")
    with pytest.raises(AssertionError, match="Makefile makes"):
        page.command("make coffee")
    with pytest.raises(AssertionError, match="do not exist"):
        page.command("pip install 'likewise[coffee]'")
