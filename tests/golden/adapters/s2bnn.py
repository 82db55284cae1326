"""S2-BNN: the distillation over embedding dimensions, sign, binary convolution, and whole blocks in train mode."""

from __future__ import annotations

import torch

from adapters import Vectors, same
from likewise.encoders.own.binary import BinaryBlock, BinaryConv2d, ShiftedSign
from likewise.similarity import cross_entropy, unit

FLOAT32 = 1e-4
NAMES = {
    "move11.bias": "sign1.bias",
    "binary_3x3.weight": "spatial.weight",
    "bn1.weight": "norm1.weight",
    "bn1.bias": "norm1.bias",
    "move12.bias": "activation1.before.bias",
    "prelu1.weight": "activation1.slope.weight",
    "move13.bias": "activation1.after.bias",
    "move21.bias": "sign2.bias",
    "move22.bias": "activation2.before.bias",
    "prelu2.weight": "activation2.slope.weight",
    "move23.bias": "activation2.after.bias",
}
SAME = {"binary_pw.weight": "pointwise.0.weight", "bn2.weight": "norm2.0.weight", "bn2.bias": "norm2.0.bias"}
DOUBLED = {
    f"{theirs}.{kind}": f"{ours}.{kind}"
    for theirs, ours in (
        ("binary_pw_down1", "pointwise.0"),
        ("binary_pw_down2", "pointwise.1"),
        ("bn2_1", "norm2.0"),
        ("bn2_2", "norm2.1"),
    )
    for kind in (("weight",) if "pw" in theirs else ("weight", "bias"))
}
ELSEWHERE = {
    f"{block}__{name}": "the official block creates this layer and does not use it"
    for block, unused in (("same", DOUBLED), ("same_step1", DOUBLED), ("down", SAME))
    for name in unused
}


def check_distillation(v: Vectors) -> None:
    student, temperature = v.leaf("student"), v.number("temperature")
    target = (unit(v["teacher"]) / temperature).softmax(1)
    loss = cross_entropy(unit(student) / temperature, target).mean()
    same(loss, v["loss"], 1e-10)
    same(torch.autograd.grad(loss, student)[0], v["grad_student"], 1e-10)


def check_sign(v: Vectors) -> None:
    x = v["act_input"].view(1, 1, -1, 1).requires_grad_(True)
    out = ShiftedSign(1)(x)
    same(out.flatten(), v["act_output"])
    out.backward(v["act_upstream"].view_as(out))
    assert x.grad is not None
    same(x.grad.flatten(), v["act_grad"], FLOAT32)


def check_convolution(v: Vectors) -> None:
    x, weight = v.leaf("conv_input"), v["conv_weight"]
    conv = BinaryConv2d(weight.shape[1], len(weight), weight.shape[2], stride=v.number("conv_stride"))
    assert conv.padding == (v.number("conv_padding"),) * 2
    conv.weight.data.copy_(weight)
    out = conv(x)
    same(out, v["conv_output"], FLOAT32)
    out.backward(v["conv_upstream"])
    assert x.grad is not None
    assert conv.weight.grad is not None
    same(x.grad, v["conv_grad_input"], FLOAT32)
    same(conv.weight.grad, v["conv_grad_weight"], FLOAT32)


def check_blocks(v: Vectors) -> None:
    for prefix in ("same", "down", "same_step1"):
        x, upstream = v.leaf(f"{prefix}_input"), v[f"{prefix}_upstream"]
        block = BinaryBlock(
            x.shape[1], upstream.shape[1], stride=v.number(f"{prefix}_stride"), binary=not prefix.endswith("step1")
        )
        names = NAMES | (DOUBLED if prefix == "down" else SAME)
        for theirs, ours in names.items():
            block.get_parameter(ours).data.copy_(v[f"{prefix}__{theirs}"])
        assert set(names.values()) == {name for name, _ in block.named_parameters()}
        out = block(x)
        same(out, v[f"{prefix}_output"], FLOAT32)
        out.backward(upstream)
        assert x.grad is not None
        same(x.grad, v[f"{prefix}_grad_input"], FLOAT32)
        for theirs, ours in names.items():
            gradient = block.get_parameter(ours).grad
            assert gradient is not None
            same(gradient, v[f"{prefix}__grad__{theirs}"], FLOAT32)
