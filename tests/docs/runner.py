"""Runs what a documentation page shows, in a folder of its own that holds a few images."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from tests.docs.blocks import Block, commands

SHELLS = {"bash", "console", "sh"}
_EXTRAS = re.compile(r"likewise\[([\w,]+)\]|\.\[([\w,]+)\]")


def make_photos(folder: Path, *, count: int = 24, size: int = 40) -> None:
    """Images of discs and of bars, in two sub-folders, noisy and of slightly different sizes."""
    draw = np.random.default_rng(0)
    for kind in ("bars", "discs"):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            height, width = size + draw.integers(0, 9, 2)
            rows, columns = np.ogrid[:height, :width]
            centre, radius = draw.uniform(0.35, 0.65, 2) * (height, width), draw.uniform(0.15, 0.3) * size
            disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
            bar = np.broadcast_to(abs(rows - centre[0]) < radius / 2, disc.shape)
            shape = disc if kind == "discs" else bar
            colours = draw.uniform(0, 255, (2, 3))
            pixels = np.where(shape[..., None], colours[0], colours[1]) + draw.normal(0, 8, (height, width, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{number:03}.png")


class Page:
    """Executes the blocks of one page in order; Python blocks share their names."""

    def __init__(self, root: Path, folder: Path, budget: Mapping[str, str]) -> None:
        self.root = root
        self.folder = folder
        self.budget = budget
        self.module = ModuleType("documentation_page")
        sys.modules[self.module.__name__] = self.module  # dataclasses and pickle look their module up
        self.said = ""

    def run(self, block: Block) -> None:
        """Execute one block, write it where it is a file, or pass over what is only shown."""
        if block.not_run is not None:
            return
        if block.title is not None:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            code = compile(block.text, f"block in line {block.line}", "exec", dont_inherit=True)
            exec(code, self.module.__dict__)
        elif block.language in SHELLS:
            for command in commands(block.text):
                self.command(command)

    def command(self, line: str) -> None:
        """Run a `likewise` command for real, check that what other commands ask for exists, refuse the rest."""
        words = shlex.split(line, comments=True)
        if words[0] in {"srun", "torchrun"}:
            words = words[words.index("likewise") :]  # what they start, as the only process
        if words[0] == "likewise":
            self.likewise(shrunk(words[1:], self.budget))
        elif words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            known = re.findall(r"^([a-z0-9-]+):", (self.root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert set(targets) <= set(known), f"{line!r}: the Makefile makes {known}"
        elif words[:2] == ["pip", "install"]:
            self.pip_install(line, words[2:])
        elif words[:2] != ["git", "clone"]:
            raise AssertionError(f"{line!r} cannot be checked here: say above it `<!-- not run: why -->`")

    def likewise(self, arguments: list[str]) -> None:
        """One command line of likewise in this process; what it prints is kept in `said`."""
        from likewise.cli import main

        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                status = main(arguments)
            except SystemExit as stop:
                status = stop.code
        self.said = said.getvalue()
        assert not status, f"likewise {shlex.join(arguments)} ended with {status}"

    def pip_install(self, line: str, words: list[str]) -> None:
        """Install a package that the page itself has written; of likewise, check that the extras exist."""
        if "." in words and (self.folder / "pyproject.toml").exists():
            site = self.folder / "site"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
            subprocess.run([*pip, "--target", site, "."], cwd=self.folder, check=True, timeout=120)
            sys.path.insert(0, str(site))
            return
        project = (self.root / "pyproject.toml").read_text(encoding="utf-8")
        named = [extra for pair in _EXTRAS.findall(line) for extra in "".join(pair).split(",")]
        assert named or {".", "likewise"} & set(words), f"{line!r} installs nothing of likewise"
        missing = [extra for extra in named if not re.search(rf"^{extra} = \[", project, re.MULTILINE)]
        assert not missing, f"{line!r} names extras that do not exist: {missing}"


def shrunk(arguments: list[str], budget: Mapping[str, str]) -> list[str]:
    """The same command with the small budget of the test in place of its own; commands that do not train stay."""
    if arguments[0] != "train" or {"--help", "-h"} & set(arguments):
        return arguments
    flags = {f"--{name.replace('_', '-')}": value for name, value in budget.items()}
    kept, rest = [], iter(arguments)
    for word in rest:
        if word in {"--minutes", *flags}:
            next(rest)
        else:
            kept.append(word)
    return [*kept, *(word for pair in flags.items() for word in pair)]


def shrinking(train: Callable[..., Any], budget: Mapping[str, str]) -> Callable[..., Any]:
    """`likewise.train` with the small budget of the test in place of the one that is asked for."""

    @wraps(train)
    def small(*positional: Any, **keywords: Any) -> Any:
        keywords.pop("minutes", None)
        return train(*positional, **keywords | {name: int(value) for name, value in budget.items()})

    return small
