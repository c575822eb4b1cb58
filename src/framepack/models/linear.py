"""Linear layers, with a faster way on x86 CPUs when no gradient is needed.

Boundary: one layer; knows nothing of what it is part of. PyTorch sends float32 matrix products to MKL, which runs at
half speed on AMD CPUs, and computes GELU as a pass of its own. oneDNN, which PyTorch ships too, does both in one
kernel: `benchmarks/transformer_cpu.py` measures it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def onednn_dtypes() -> frozenset[torch.dtype]:
    """Dtypes that oneDNN multiplies at full speed here; none on CPUs other than x86."""
    mkldnn = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(mkldnn, "_linear_pointwise"):
        return frozenset()
    if torch.backends.cpu.get_cpu_capability() not in {"AVX2", "AVX512"}:
        return frozenset()
    bf16 = {torch.bfloat16} if mkldnn._is_mkldnn_bf16_supported() else set()
    return frozenset({torch.float32} | bf16)


ONEDNN_DTYPES = onednn_dtypes()


def onednn_takes(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN may compute `x @ weight.T`: on a supported CPU, and no gradient flows."""
    if x.device.type != "cpu" or x.dtype not in ONEDNN_DTYPES or weight.dtype != x.dtype:
        return False
    return not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))


class Linear(nn.Linear):
    """`nn.Linear`, computed by oneDNN where that is faster."""

    def forward(self, x: Tensor) -> Tensor:
        if onednn_takes(x, self.weight):
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


class ExactLinear(nn.Linear):
    """A linear that computes in float32 whatever its weights' dtype: the last layer before the sampler."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        return F.linear(x.float(), self.weight.float(), bias)


def gelu_linear(layer: nn.Module, x: Tensor) -> Tensor:
    """GELU, in its tanh form, of `layer(x)`: one kernel where the layer is a `Linear` that oneDNN takes.

    Not a module, so that what replaces or wraps the layer (LoRA, quantisation, streaming) sees a plain linear.
    """
    if type(layer) is Linear and onednn_takes(x, layer.weight):
        return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "tanh")
    return F.gelu(layer(x), approximate="tanh")
