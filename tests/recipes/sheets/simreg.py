"""SimReg: arXiv 2201.05131, section 4, and the official code; MoCo v2's ResNet-50 as teacher of a ResNet-18."""

from __future__ import annotations

from typing import Any

from tests.recipes.reader import IMAGENET_R18, Published
from tests.recipes.sheets.isd import WEAK
from tests.recipes.usual import cosine_epochs, groups

SHEETS: dict[str, tuple[Published, dict[str, Any]]] = {
    "imagenet": (
        IMAGENET_R18,
        {
            "batch": 256,
            "epochs": 130,
            "optimiser": "sgd, momentum 0.9",
            "rate": cosine_epochs(0.05, 130),
            "rate at twice the batch": 0.1,
            "decay": [1e-4] * 4,
            "groups": groups("student", "regressors", decay=1e-4),
            "teacher": None,  # frozen
            "temperatures": {},
            "heads": {"regressors": "512>1024, bn, relu, 1024>512, 512>1024, bn, relu, 1024>2048"},
            "views": {"student": WEAK},  # which the teacher sees as well
            "batch norm": "student: whole batch",  # nothing is said of devices
            "memory": {},
            "deployed": "student",
        },
    ),
}
