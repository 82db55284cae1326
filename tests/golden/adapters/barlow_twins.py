"""Barlow Twins: the loss with both forms of its sum, the optimiser, and the schedule with its two rates."""

from __future__ import annotations

import dataclasses

import torch

from adapters import Vectors, same
from likewise.encoders import EncoderSpec, build
from likewise.methods.barlow_twins import BarlowTwins, cross_correlation, reduce_redundancy
from likewise.methods.method import Facts, Progress
from likewise.training.optimising import optimisers, scheduled


def check_loss(v: Vectors) -> None:
    first, second = v.leaf("z1"), v.leaf("z2")
    found = reduce_redundancy(first, second, v.number("lambda_offdiag"))
    found.loss.backward()
    same(found.loss, v["loss"])
    assert first.grad is not None
    assert second.grad is not None
    same(first.grad, v["grad_z1"])
    same(second.grad, v["grad_z2"])


def check_cross_correlation(v: Vectors) -> None:
    expected = v["cross_correlation"]
    same(cross_correlation(v["z1"], v["z2"]), expected)
    found = reduce_redundancy(v["z1"], v["z2"], 1.0)
    same(found.diagonal, expected.diagonal().mean())
    off = expected[~torch.eye(len(expected), dtype=torch.bool)]
    same(found.off_diagonal, off.square().mean().sqrt())


def check_lars(v: Vectors) -> None:
    weight = torch.nn.Parameter(v["lars_weight_init"])
    bias = torch.nn.Parameter(v["lars_bias_init"])
    rate = v.number("lars_lr_weights")
    recipe = dataclasses.replace(
        BarlowTwins.presets["imagenet"].optimisation,
        learning_rate=rate,
        weight_decay=v.number("lars_weight_decay"),
        momentum=v.number("lars_momentum"),
        trust=v.number("lars_eta"),
    )
    groups = [{"params": [weight]}, {"params": [bias], "rate": v.number("lars_lr_biases") / rate}]
    optimiser = optimisers.build(groups, recipe)
    for weight_grad, bias_grad in zip(v["lars_weight_grads"], v["lars_bias_grads"], strict=True):
        weight.grad, bias.grad = weight_grad, bias_grad
        optimiser.step()
    same(weight.detach(), v["lars_weight_final"])
    same(bias.detach(), v["lars_bias_final"])


def check_schedule(v: Vectors) -> None:
    """The published preset, its rates by group at every step. The official warm-up is 10 epochs of however many."""
    preset, epochs = BarlowTwins.presets["imagenet"], v.number("schedule_epochs")
    steps, batch = epochs * v.number("schedule_steps_per_epoch"), v.number("schedule_batch")
    recipe = dataclasses.replace(
        preset.optimisation,
        learning_rate=preset.optimisation.learning_rate * batch / preset.optimisation.batch_size,
        warmup=10 / epochs,
    )
    encoder = build(EncoderSpec(name="resnet18", width=8, stem="small", image_size=16))
    settings = dataclasses.replace(preset.settings, embedding=8)
    method = BarlowTwins(encoder, settings, Facts(images=8, batch_size=2, image_size=16))
    optimiser = optimisers.build(method.parameter_groups(), recipe)
    rates = []
    for step in range(steps):
        rate = scheduled.learning_rate(recipe, Progress(step, step / steps, 0), epochs)
        optimisers.set_rate(optimiser, rate)
        rates.append([group["lr"] for group in optimiser.param_groups])
    same(torch.tensor(rates, dtype=torch.float64), v["schedule_lr"])
