"""What LoRA files call the transformer's weights: diffusers' names, the original HunyuanVideo's, and kohya's flat ones.

Boundary: names and rows only, no tensors. Everything is derived from the names our module has, so a name that leads
nowhere is never taken for another. Sources: the parameter names of HunyuanVideo's public code, of diffusers and peft,
of ComfyUI (which renames some of the first), and of kohya's sd-scripts, musubi-tuner, OneTrainer and LyCORIS (dots
become underscores).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PREFIXES = (
    *("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer."),
    *("lora_unet_", "lora_transformer_", "lycoris_"),
)
"""What the tools put before a module's name; the last two are OneTrainer's and LyCORIS's (SimpleTuner)."""

ELSEWHERE = {
    "a text encoder": ("lora_te", "text_encoder", "text_model", "clip_l", "clip_g", "lora_clip", "llama"),
    "an embedding": ("bundle_emb", "emb_params", "string_to_param", "embeddings."),
}
"""How names begin that belong to no transformer: trainers put such tensors beside its LoRA."""

DOUBLE = {
    "img_mod.linear": ("norm1.linear",),
    "txt_mod.linear": ("norm1_context.linear",),
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn_proj": ("attn.to_out.0",),
    "txt_attn_proj": ("attn.to_add_out",),
    "img_mlp.fc1": ("ff.net.0.proj",),
    "img_mlp.fc2": ("ff.net.2",),
    "txt_mlp.fc1": ("ff_context.net.0.proj",),
    "txt_mlp.fc2": ("ff_context.net.2",),
}
"""Original names in a double block, and ours, whose rows lie one after the other in a fused weight."""

SINGLE = {
    "modulation.linear": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}

REFINER = {
    "self_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "self_attn_proj": ("attn.to_out.0",),
    "mlp.fc1": ("ff.net.0.proj",),
    "mlp.fc2": ("ff.net.2",),
    "adaLN_modulation.1": ("norm_out.linear",),
}

BLOCKS = {
    "double_blocks.{}.": ("transformer_blocks.{}.", DOUBLE),
    "single_blocks.{}.": ("single_transformer_blocks.{}.", SINGLE),
    "txt_in.individual_token_refiner.blocks.{}.": ("context_embedder.token_refiner.refiner_blocks.{}.", REFINER),
}

REST = {
    "img_in.proj": "x_embedder.proj",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.mlp.0": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.mlp.2": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
"""Original names outside the blocks."""

SWAPPED = {"final_layer.adaLN_modulation.1": "norm_out.linear"}
"""The original has (shift, scale) where ours has (scale, shift): its halves change places."""

COMFY = {
    "_attn_qkv": "_attn.qkv",
    "_attn_proj": "_attn.proj",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
    "_mod.linear": "_mod.lin",
    ".modulation.linear": ".modulation.lin",
    "_in.mlp.0": "_in.in_layer",
    "_in.mlp.2": "_in.out_layer",
    "t_embedder.mlp.0": "t_embedder.in_layer",
    "t_embedder.mlp.2": "t_embedder.out_layer",
    "c_embedder.linear_1": "c_embedder.in_layer",
    "c_embedder.linear_2": "c_embedder.out_layer",
}
"""What ComfyUI calls the same modules; a LoRA trained on its checkpoints has these names."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What one module of a file is in ours: the modules whose output rows, one after the other, are its rows."""

    modules: tuple[str, ...]
    swapped: bool = False


def targets(modules: Iterable[str]) -> dict[str, Target]:
    """Every name, without prefix, under which a file may address `modules`, our modules that have a matrix."""
    ours = sorted(modules)
    found = {name: Target(modules=(name,)) for name in ours}
    for original, target in _originals(ours):
        for name in (original, _comfy(original)):
            found.setdefault(name, target)
    flat = {name.replace(".", "_"): target for name, target in found.items()}
    return flat | found


def strip_prefixes(name: str) -> str:
    """`name` without what tools put before it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def elsewhere(name: str) -> str:
    """What a tensor belongs to where that is not the transformer ("a text encoder"); empty where it may be."""
    stripped = strip_prefixes(name)
    return next((what for what, starts in ELSEWHERE.items() if stripped.startswith(starts)), "")


def _originals(ours: list[str]) -> Iterator[tuple[str, Target]]:
    """Original names of the modules that we have."""
    there = set(ours)
    for theirs_at, (ours_at, table) in BLOCKS.items():
        pattern = re.compile(re.escape(ours_at).replace(r"\{\}", r"(\d+)"))
        for index in sorted({int(match[1]) for name in ours if (match := pattern.match(name))}):
            for theirs, parts in table.items():
                names = tuple(ours_at.format(index) + part for part in parts)
                if there.issuperset(names):
                    yield theirs_at.format(index) + theirs, Target(modules=names)
    for table, swapped in ((REST, False), (SWAPPED, True)):
        for theirs, name in table.items():
            if name in there:
                yield theirs, Target(modules=(name,), swapped=swapped)


def _comfy(original: str) -> str:
    for theirs, renamed in COMFY.items():
        original = original.replace(theirs, renamed)
    return original
