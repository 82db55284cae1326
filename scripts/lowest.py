"""Prints, as pip constraints, the lowest version of everything that pyproject.toml asks for: `make test-lowest`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("dev", "onnx", "demo", "lite0")

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needs = project["dependencies"] + [need for extra in EXTRAS for need in project["optional-dependencies"][extra]]
for need in sorted(set(needs)):
    name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", need).groups()
    # Linter and type checker judge the code, they do not run it: the checks keep the versions of constraints.txt.
    if name not in ("import-linter", "mypy", "ruff"):
        print(f"{name}=={version}")
