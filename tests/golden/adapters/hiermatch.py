"""HIERMATCH with three and with two levels: guesses, mixed targets, heads, both losses, gradients; the label tree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapters import Vectors, same
from likewise.encoders.tree_head import TreeHead
from likewise.similarity.labelled.mixmatch import guessed, interleaved, labelled_loss, mixed, ramp, unlabelled_loss

LEVELS = {"L3": ("fine", "mid", "coarse"), "L2": ("fine", "coarse")}


def head_of(v: Vectors, prefix: str) -> TreeHead:
    names = LEVELS[prefix]
    weights = [v[f"{prefix}_weight_{name}"] for name in names]
    head = TreeHead(weights[-1].shape[1], [len(weight) for weight in weights]).double()
    for level, weight, name in zip(head.levels, weights, names, strict=True):
        assert isinstance(level, nn.Linear)
        level.weight.data.copy_(weight)
        level.bias.data.copy_(v[f"{prefix}_bias_{name}"])
    return head


def check_levels(v: Vectors) -> None:
    for prefix, names in LEVELS.items():
        head = head_of(v, prefix)
        views = v[f"{prefix}_features_unlabelled"]
        told = [torch.stack(logits) for logits in zip(*(head(view) for view in views), strict=True)]
        features = v.leaf(f"{prefix}_features_mixed")
        logits = head(features)
        share = ramp(v.number("epoch"), v.number("epochs"))
        same(torch.tensor(share, dtype=torch.float64), v[f"{prefix}_ramp"])
        total: Tensor = torch.zeros((), dtype=torch.float64)
        for number, name in enumerate(names):
            same(logits[number], v[f"{prefix}_logits_{name}"])
            guess = guessed(told[number], v.number("temperature"))
            same(guess, v[f"{prefix}_guess_{name}"])
            labels = F.one_hot(v[f"{prefix}_labels_{name}"], guess.shape[1]).double()
            targets = mixed(
                torch.cat([labels, guess, guess]), v[f"{prefix}_mix_permutation"], v.number(f"{prefix}_mix_lambda")
            )
            same(targets, v[f"{prefix}_mixed_targets_{name}"])
            count = len(labels)
            known = labelled_loss(logits[number][:count], targets[:count])
            free = unlabelled_loss(logits[number][count:], targets[count:])
            same(known, v[f"{prefix}_loss_x_{name}"])
            same(free, v[f"{prefix}_loss_u_{name}"])
            term = known + v.number("lambda_u") * share * free
            layer = head.levels[number]
            assert isinstance(layer, nn.Linear)
            of_features, of_weight = torch.autograd.grad(term, (features, layer.weight), retain_graph=True)
            same(of_features, v[f"{prefix}_grad_features_{name}"])
            # The file's gradient of a weight holds two backward passes, the level's own and the total's.
            same(2.0 * of_weight, v[f"{prefix}_grad_weight_{name}"])
            total = total + term
        same(total, v[f"{prefix}_loss"])
        same(torch.autograd.grad(total, features)[0], v[f"{prefix}_grad_features"])


def check_interleave(v: Vectors) -> None:
    found = interleaved(list(v["interleave_in"]))
    assert torch.stack(found).equal(v["interleave_out"])
    assert torch.stack(interleaved(found)).equal(v["interleave_in"])


def check_tree(v: Vectors) -> None:
    """Every superclass of CIFAR-100 lies in one group, and holds five classes."""
    _, superclass, group = v["cifar100_tree"].T
    for value in superclass.unique():
        assert len(group[superclass == value].unique()) == 1
        assert int((superclass == value).sum()) == 5
