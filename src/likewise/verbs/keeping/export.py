"""Export of a trained encoder: safetensors for timm, ONNX for everything else, verified before it is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import safetensors.torch
import torch
from torch import Tensor

from likewise.classifier import layer_of, with_logits
from likewise.encoders import Encoder, load_encoder
from likewise.encoders.build import rebuild
from likewise.encoders.files.chosen import DEPLOYED, Chosen, Which, choose
from likewise.encoders.files.packed import pack, unpack
from likewise.encoders.files.recipe import timm_code
from likewise.encoders.files.store import PACKED, as_text, description, read_description, serialised
from likewise.encoders.own.binary import ShiftedSign
from likewise.errors import InputError, LikewiseError, missing, unknown
from likewise.files import check_file, write_aside
from likewise.runs import RunDirectory
from likewise.verbs.keeping.card import FILE, check_licence, model_card

Format = Literal["safetensors", "onnx", "packed"]
ENDINGS: dict[str, tuple[Format, ...]] = {".safetensors": ("safetensors", "packed"), ".onnx": ("onnx",)}
"""Endings that say what a file is, and the formats that may have them."""
Features = Callable[[Tensor], Tensor]
"""(B, 3, H, W) -> (B, F)."""

LARGEST_ERROR = 1e-3
"""A file whose features are off by more than this share of the largest feature is not kept. Where activations are signs
that holds for some image and not for all: a sum of almost 0, rounded otherwise, turns a sign, and features with it."""
_BATCHES = (1, 5)
"""Batch sizes that an ONNX file is checked with; it is traced with 2."""


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The written file, and its verification."""

    path: Path
    """The file."""
    format: Format
    """What it is."""
    source: Path
    """The weights it was made of."""
    taken: str
    """Whose weights those are, and why they were taken."""
    bytes: int
    """Its size."""
    max_error: float
    """Largest difference from the encoder's features over random inputs, as a share of the largest of them; 0 means
    equal in every bit."""
    turned: int
    """Of these inputs, those whose features differ because rounding turned signs; 0 where activations are no signs."""
    batches: tuple[int, ...]
    """Batch sizes of those inputs."""
    metadata: Mapping[str, Any]
    """What the file says of itself: encoder, input size, and the mean and deviation its input is normalised with."""
    float_bytes: int | None = None
    """Of a packed file: what the same weights take as float32."""
    recipe: str | None = None
    """Python that loads a safetensors file into plain timm as `network`, ready to paste."""
    card: Path | None = None
    """The model card beside the file, where one was asked for."""

    def __str__(self) -> str:
        """A few lines for people."""
        about = self.metadata
        made = f"{about['name']}, width {about['width']}, {about['stem']} stem, from {self.source}"
        batches = " and ".join(map(str, self.batches))
        turned = f"; rounding turned signs in {self.turned} of {sum(self.batches)} images" if self.turned else ""
        beside = f", {self.float_bytes / 1e6:.3f} MB as float32" if self.float_bytes else ""
        digits = 3 if self.float_bytes else 1
        return (
            f"wrote   {self.path} ({self.format}, {self.bytes / 1e6:.{digits}f} MB{beside})\n"
            f"model   {made}\n"
            f"weights {self.taken}\n"
            f"input   (batch, 3, {about['image_size']}, {about['image_size']}) RGB in 0..1, "
            f"less mean {_numbers(about['mean'])}, divided by {_numbers(about['std'])}\n"
            f"output  {self._outputs()}\n"
            f"check   max error {self.max_error:.1e} of the largest feature, on batches of {batches}{turned}"
            + (f"\ncard    {self.card}" if self.card else "")
            + (f"\nload    into timm:\n\n{self.recipe}" if self.recipe else "")
        )

    def _outputs(self) -> str:
        features = f"features (batch, {self.metadata['features']})"
        names = self.metadata.get("class_names")
        return features if names is None else f"{features}, and logits (batch, {len(names)}) of the classes"


def export(
    run: str | Path,
    *,
    format: Format,
    out: str | Path,
    which: Which | None = None,
    overwrite: bool = False,
    card: bool = False,
    licence: str = "unknown",
) -> ExportReport:
    """Write the encoder of `run`, a run directory or a .safetensors file, to `out`.

    `safetensors` holds plain timm keys; the report's `recipe` are the lines that load it into plain timm, narrow
    encoders and small stems included. `onnx` maps `pixels` (batch, 3, H, W), RGB in 0..1 less
    the mean and divided by the deviation, to `features` (batch, F), for any batch size. Normalising is left to the
    caller; mean and deviation stand in the metadata of either file. A fine-tuned run's has the output `logits`
    (batch, C), too, and the names of the classes in its metadata. The file is read back and compared with the
    encoder on random inputs. `packed` holds one bit for each weight of binary convolutions; `likewise.load` and
    `evaluate` take it. `which` chooses the weights of a run directory, by default those its method deploys. With `card`
    a README.md is written beside `out`, in the form of the Hugging Face hub, under `licence`, an identifier such as
    apache-2.0 (`verbs.card`).

    Raises `InputError` for a run, role or format that does not exist, a missing `onnx` extra, and an `out` that exists
    unless `overwrite`; `LikewiseError` where the file is off by more than 1e-3 of the largest feature, and none is left
    behind.
    """
    if format not in get_args(Format):
        raise unknown("format", format, get_args(Format))
    chosen, out = choose(Path(run), which), Path(out)
    if card:
        check_licence(licence)
    _check_place(out, format, card=card, overwrite=overwrite)
    encoder = load_encoder(chosen.path)
    metadata = _metadata(chosen, encoder)
    content, features = _WRITERS[format](encoder, metadata)
    errors_N = _errors(encoder, features)
    signs = any(isinstance(part, ShiftedSign) for part in encoder.modules())
    error = float(errors_N.min() if signs else errors_N.max())
    if format == "onnx" and (classifier := layer_of(chosen.path)) is not None:
        content = with_logits(content, *classifier)
        metadata["class_names"] = classifier[1]
    if not error <= LARGEST_ERROR:
        raise LikewiseError(
            f"the {format} file gives features that are off by {error:.1e} of the largest: nothing was written"
        )
    with write_aside(out) as file:
        file.write(content)
    report = ExportReport(
        path=out,
        format=format,
        source=chosen.path,
        taken=str(chosen),
        bytes=len(content),
        max_error=float(errors_N.max()),
        turned=int((errors_N > LARGEST_ERROR).sum()),
        batches=_BATCHES,
        metadata=metadata,
        recipe=timm_code(encoder, out) if format == "safetensors" else None,
        float_bytes=len(serialised(encoder, metadata)) if format == "packed" else None,
    )
    return _with_card(report, run, licence) if card else report


def _metadata(chosen: Chosen, encoder: Encoder) -> dict[str, Any]:
    """What the file says of itself."""
    metadata = {"which": chosen.role, **read_description(chosen.path), **description(encoder)}
    metadata["input"] = "(RGB in 0..1 - mean) / std"
    for key in ("weights", DEPLOYED, PACKED):  # the run's files, its choice among them, and how the source was written
        metadata.pop(key, None)
    return metadata


def _with_card(report: ExportReport, run: str | Path, licence: str) -> ExportReport:
    """Write the model card beside the file."""
    place = report.path.parent / FILE
    with write_aside(place) as file:
        file.write(model_card(report, RunDirectory(Path(run)).read(), licence).encode())
    return replace(report, card=place)


def _check_place(out: Path, format: str, *, card: bool, overwrite: bool) -> None:
    """Raise InputError where the file, or its model card, cannot be written."""
    if out.is_dir():
        raise InputError(f"{out} is a directory: name a file, such as {out / f'encoder.{format}'}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another file, or allow it to be overwritten (--overwrite)")
    fitting = ENDINGS.get(out.suffix.lower(), (format,))
    if format not in fitting:
        raise InputError(f"{out} would not be what its name says: a {out.suffix} file is of format {fitting[0]}")
    check_file(out)
    if card and (out.parent / FILE).exists() and not overwrite:
        raise InputError(f"{out.parent / FILE} exists: choose another directory, or allow it to be overwritten")


def _safetensors(encoder: Encoder, metadata: Mapping[str, Any]) -> tuple[bytes, Features]:
    """The file, and the features that an encoder filled from it gives."""
    content = serialised(encoder, metadata)
    again = rebuild(encoder.spec).eval()
    again.take_weights(safetensors.torch.load(content))
    return content, again


def _packed(encoder: Encoder, metadata: Mapping[str, Any]) -> tuple[bytes, Features]:
    """The file, and the features that the encoder unpacked from it gives."""
    content = pack(encoder, as_text(metadata))
    shapes = {key: list(weight.shape) for key, weight in encoder.weights().items()}
    held = safetensors.torch.load(content)
    packed = {key: shapes[key] for key in shapes if key not in held}
    return content, unpack(held, {**metadata, PACKED: packed}, Path("packed"))


def _onnx(encoder: Encoder, metadata: Mapping[str, Any]) -> tuple[bytes, Features]:
    """The file, and the features that onnxruntime computes with it."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it and would say so in other words)
    except ImportError as error:
        raise missing(str(error.name), "onnx", "ONNX") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses what torch itself deprecates
        program = torch.onnx.export(
            encoder,
            (_pixels(encoder, 2),),
            dynamo=True,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise LikewiseError("torch.onnx returned no model")
    model = program.model_proto
    onnx.helper.set_model_props(model, as_text(metadata))
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda x: torch.from_numpy(session.run(["features"], {"pixels": x.numpy()})[0])


_WRITERS: Mapping[Format, Callable[[Encoder, Mapping[str, Any]], tuple[bytes, Features]]] = {
    "safetensors": _safetensors,
    "onnx": _onnx,
    "packed": _packed,
}


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _errors(encoder: Encoder, features: Features) -> Tensor:
    """(N,) largest difference between the features of `encoder` and those given, as a share of the largest of all, for
    each of N random inputs.

    Features are of any scale, and what follows (neighbours, linear layers) does not mind which: an absolute limit would
    let nonsense pass where they are small, and refuse rounding where they are large.
    """
    differences, sizes = [], []
    with torch.inference_mode():
        for batch in _BATCHES:
            pixels = _pixels(encoder, batch)
            own = encoder(pixels)
            differences.append((features(pixels) - own).abs().amax(1))
            sizes.append(own.abs().max())
    largest = torch.stack(sizes).max().clamp_min(torch.finfo(torch.float32).tiny)
    return torch.cat(differences) / largest


def _pixels(encoder: Encoder, batch: int) -> Tensor:
    """Random normalised input, the same every time."""
    size = encoder.spec.image_size
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(batch))
