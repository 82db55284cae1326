"""Makes torchvision importable beside a CPU build of PyTorch.

torchvision's wheels on PyPI are compiled against CUDA. Beside a CPU-only torch their compiled operators cannot load,
and `import torchvision` stops where it describes `nms` and `qnms` to the compiler. Nothing in this package needs
those operators (timm imports torchvision for its transforms), so the missing schemas are declared here, one by one
as they are asked for, and only then. Import this module before timm or torchvision.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "torchvision::nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []


def _missing_operator() -> str | None:
    """Name of the operator that stops torchvision's import, or None where the import works."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        missing = [name for name in _SCHEMAS if f"operator {name} does not exist" in str(error)]
        if not missing:
            raise
        return missing[0]
    return None


def declare_missing_operators() -> None:
    """Declare what a torchvision without its compiled part asks for; nothing where it is complete."""
    while (name := _missing_operator()) is not None:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        library.define(_SCHEMAS[name])  # type: ignore[no-untyped-call]
        _declared.append(library)  # a collected library would withdraw its operators


declare_missing_operators()
