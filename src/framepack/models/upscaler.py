"""The network that ESRGAN and Real-ESRGAN enlarge with: RRDBNet (arXiv 1809.00219, 2107.10833), defined here anew.

Its size is read off the weights, whose names are those of BasicSR's files (`conv_first`, `body.0.rdb1.conv1` ...).
Knows no files; pixels in, pixels out, each in 0..1.
"""

from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Of the leaky ReLUs."""
RESIDUAL = 0.2
"""By which each block's change is scaled."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it made: (B, C, H, W) to the same."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = (
            nn.Conv2d(channels + number * growth, channels if number == 4 else growth, 3, padding=1)
            for number in range(5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        seen = [x]
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(functional.leaky_relu(convolution(torch.cat(seen, 1)), SLOPE))
        return x + RESIDUAL * self.conv5(torch.cat(seen, 1))


class ResidualBlock(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(channels, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """(B, 3, H, W) to (B, 3, 4 H / fold, 4 W / fold): `fold` x `fold` pixels are folded into one, then enlarged.

    Networks for a factor of 2 fold 2, those for 1 fold 4: so Real-ESRGAN has it.
    """

    def __init__(self, *, channels: int = 64, growth: int = 32, blocks: int = 23, fold: int = 1) -> None:
        super().__init__()
        self.fold, self.factor = fold, 4 // fold
        self.conv_first = nn.Conv2d(3 * fold * fold, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4)
        )
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "RRDBNet":
        """The network that these weights are of, holding them in float32. ValueError where they are of another one."""
        own = {name.removeprefix("params_ema.").removeprefix("params."): tensor for name, tensor in weights.items()}
        numbers = {name.split(".")[1] for name in own if name.startswith("body.")}
        first, inner = own.get("conv_first.weight"), own.get("body.0.rdb1.conv1.weight")
        folds = {3: 1, 12: 2, 48: 4}
        if first is None or inner is None or first.ndim != 4 or inner.ndim != 4 or first.shape[1] not in folds:
            raise ValueError("its weights are of another kind of network: RRDB (ESRGAN, Real-ESRGAN x4plus) is read")
        if numbers != {str(number) for number in range(len(numbers))}:  # before as many are made as a name says
            raise ValueError(f"its blocks are not numbered 0 to {len(numbers) - 1}: get the file again")
        if not all(tensor.is_floating_point() for tensor in own.values()):
            raise ValueError("its weights are no floating-point numbers: get the file that is not quantized")
        with torch.device("meta"):
            network = cls(
                channels=first.shape[0], growth=inner.shape[0], blocks=len(numbers), fold=folds[first.shape[1]]
            )
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in own.items()}
        if expected != found:
            wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
            raise ValueError(f"its weights do not fit together, such as {wrong[0]}: get the file again")
        network.load_state_dict({name: tensor.float() for name, tensor in own.items()}, assign=True)
        if not all(weights.is_meta or bool(weights.isfinite().all()) for weights in network.parameters()):
            raise ValueError("some of its weights are no finite numbers: get the file again")
        return network.eval()

    def forward(self, x: Tensor) -> Tensor:
        """See the class. H and W are multiples of `fold`."""
        folded = rearrange(x, "B C (H f) (W g) -> B (C f g) H W", f=self.fold, g=self.fold)
        features = self.conv_first(folded)
        features = features + self.conv_body(self.body(features))
        for convolution in (self.conv_up1, self.conv_up2):
            larger = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = functional.leaky_relu(convolution(larger), SLOPE)
        return self.conv_last(functional.leaky_relu(self.conv_hr(features), SLOPE))
