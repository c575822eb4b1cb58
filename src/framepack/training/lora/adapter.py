"""The trainable part of a LoRA: peft's adapters inside the transformer's blocks, and the file they become.

Boundary: one module; knows no data. The maths of the adapters is peft's. The file has diffusers' names and alpha / rank
already multiplied in, so that every reader, with or without metadata, takes it for the same.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from framepack.files.atomic import atomic_write
from framepack.training.tensors import save_tensors

TARGETS = (
    r"(single_)?transformer_blocks\.\d+\.("
    r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|ff\.net\.(0\.proj|2)|ff_context\.net\.(0\.proj|2)|proj_mlp|proj_out)"
)
"""The blocks' attention and MLP linears; modulation, embedders and the refiner stay as they are."""
ADAPTER = ".default.weight"


def inject(module: nn.Module, rank: int, alpha: float, seed: int) -> dict[str, nn.Parameter]:
    """Put adapters into `module`; returns them by diffusers' names, float32, on the device of the weights beside them.

    Everything else is frozen. Until trained, the adapters change nothing.
    """
    module.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS)  # pyright: ignore[reportArgumentType]
        inject_adapter_in_model(config, module)
    found = {}
    for name, parameter in module.named_parameters():
        if name.endswith(ADAPTER) and ".lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
            found[f"transformer.{name.removesuffix(ADAPTER)}.weight"] = parameter
    return found


def save_lora(file: Path, adapters: Mapping[str, Tensor], rank: int, alpha: float, notes: Mapping[str, str]) -> None:
    """Write the adapters as a LoRA that `--lora`, diffusers and others load; `notes` go into the header."""
    tensors = {
        name: (value.detach().float() * (alpha / rank if ".lora_B." in name else 1.0)).cpu().contiguous()
        for name, value in adapters.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as temporary:
        save_tensors(tensors, temporary, {"format": "pt", **notes})
