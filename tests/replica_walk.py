"""What each of the processes does that `test_replicas` has torchrun start. Argument: a folder."""

import json
import sys
from pathlib import Path

import torch
from tiny_recipe import TINY
from torch import nn

from framepack.training.replicas import replicas
from framepack.training.transformer.trainer import train

folder = Path(sys.argv[1])
together = replicas()
both, second, neither = (nn.Parameter(torch.zeros(2)) for _ in range(3))
both.grad = torch.tensor([1.0, 2.0]) * (1 + 2 * together.rank)
if together.rank:
    second.grad = torch.tensor([4.0, 4.0])
means = together.average_gradients([both, second, neither], torch.tensor(together.rank + 0.5))
found = {
    "both": both.grad.tolist(),
    "second": None if second.grad is None else second.grad.tolist(),
    "neither": neither.grad,
    "means": means,
    "agreed": together.broadcast(together.rank == 0),
    "share": together.local_batch(7),
    "drawn": int(together.random(1, 2).integers(2**30)),
    "device": str(together.device("cuda")),
}
(folder / f"found{together.rank}.json").write_text(json.dumps(found), encoding="utf-8")
steps = [train(TINY, folder / "whole"), train(TINY, folder / "pieces", seconds=0.0)]
steps.append(train(TINY, folder / "pieces", seconds=0.0))
steps.append(train(TINY, folder / "pieces"))
(folder / f"steps{found['drawn']}.json").write_text(json.dumps(steps), encoding="utf-8")
