"""One process of the two that `test_norms.py` starts: `python one_of_two.py RANK FOLDER`.

Reads batch.pt (the network, the global batch, weights of the loss, numbers of groups), takes every second row, goes
once forward and back for each number of groups, and writes what came of it to RANK.pt.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from likewise.encoders import norms


def main(rank: int, folder: Path) -> None:
    """Run as process `rank` of two."""
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=2)
    given = torch.load(folder / "batch.pt", weights_only=False)  # written by the test a moment ago
    found = {splits: step(given, copy.deepcopy(given["network"]), rank, splits) for splits in given["splits"]}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


def step(given: dict[str, Any], network: nn.Module, rank: int, splits: int) -> dict[str, Any]:
    """Outputs, gradients (those of parameters summed over processes), and the state afterwards."""
    norms.convert(network, split=splits, sync=True)
    x = given["x"][rank::2].clone().requires_grad_()
    y = network(x)
    (y * given["weights"][rank::2]).sum().backward()
    for parameter in network.parameters():
        dist.all_reduce(parameter.grad)
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"y": y.detach(), "x": x.grad, "gradients": gradients, "state": network.state_dict()}


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
