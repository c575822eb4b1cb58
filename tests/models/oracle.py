"""diffusers' port of the transformer beside ours: same weights, same inputs, one call each."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel as Reference
from torch import Tensor

from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.blocks import PLAIN, Execution
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked as Ours
from framepack.models.packing import ContextLatents, PackedTokens

TINY: dict[str, Any] = {
    "in_channels": 5,
    "out_channels": 5,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "num_single_layers": 2,
    "num_refiner_layers": 2,
    "text_embed_dim": 24,
    "pooled_projection_dim": 12,
    "image_proj_dim": 20,
    "rope_axes_dim": (4, 6, 6),
    "has_image_proj": True,
    "has_clean_x_embedder": True,
}


def pair(dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Reference, Ours]:
    """Both classes with the same random weights, loaded strictly and without key maps."""
    torch.manual_seed(0)
    fields = TINY | changes
    reference = Reference(**fields).eval().requires_grad_(False)
    for name, parameter in reference.named_parameters():
        # Norm weights and biases start at one and zero: make every parameter matter.
        if parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) * 0.2)
        elif "norm" in name:
            parameter.mul_(3)
    ours = Ours(TransformerConfig.from_dict(fields)).requires_grad_(False)
    ours.load_state_dict(reference.state_dict(), strict=True)
    return reference.to(dtype), ours.to(dtype)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Inputs of one denoising call, in the public app's terms."""

    x: Tensor
    timestep: Tensor
    guidance: Tensor
    pooled: Tensor
    text: Tensor
    mask: Tensor
    image: Tensor
    clean: Tensor
    history_2x: Tensor
    history_4x: Tensor
    at: dict[str, list[int]]


def case(
    batch: int = 1,
    window: int = 3,
    size: tuple[int, int] = (10, 14),
    lengths: tuple[int, ...] = (7,),
    padded_to: int = 9,
    seed: int = 1,
    config: dict[str, Any] = TINY,
) -> Case:
    """Random inputs in the inverted order with padding 1: start | blank | noisy | post | 2x | 4x."""
    g = torch.Generator().manual_seed(seed)
    channels = config["in_channels"]

    def latents(frames: int) -> Tensor:
        return torch.randn(batch, channels, frames, *size, generator=g)

    end = 1 + 2 * window
    return Case(
        x=latents(window),
        timestep=torch.rand(batch, generator=g) * 1000,
        guidance=torch.full((batch,), 10000.0) + torch.arange(batch) * 500,
        pooled=torch.randn(batch, config["pooled_projection_dim"], generator=g),
        text=torch.randn(batch, padded_to, config["text_embed_dim"], generator=g),
        mask=torch.arange(padded_to).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1),
        image=torch.randn(batch, 11, config["image_proj_dim"], generator=g),
        clean=latents(2),
        history_2x=latents(2),
        history_4x=latents(16),
        at={
            "noisy": [1 + window + i for i in range(window)],
            "clean": [0, end],
            "2x": [end + 1, end + 2],
            "4x": [end + 3 + i for i in range(16)],
        },
    )


def reference_velocity(model: Reference, c: Case) -> Tensor:
    """diffusers' answer, with timesteps and guidance rounded to the dtype as the public app does."""
    dtype = model.dtype
    with torch.no_grad():
        return model(
            hidden_states=c.x.to(dtype),
            timestep=c.timestep.to(dtype),
            encoder_hidden_states=c.text.to(dtype),
            encoder_attention_mask=c.mask,
            pooled_projections=c.pooled.to(dtype),
            image_embeds=c.image.to(dtype),
            indices_latents=torch.tensor(c.at["noisy"]),
            guidance=c.guidance.to(dtype),
            latents_clean=c.clean.to(dtype),
            indices_latents_clean=torch.tensor(c.at["clean"]),
            latents_history_2x=c.history_2x.to(dtype),
            indices_latents_history_2x=torch.tensor(c.at["2x"]),
            latents_history_4x=c.history_4x.to(dtype),
            indices_latents_history_4x=torch.tensor(c.at["4x"]),
            return_dict=False,
        )[0]


def spans(c: Case, **weights: float) -> list[ContextLatents]:
    """The case's context: weights by name "clean", "2x", "4x"."""
    named = {"clean": (c.clean, 1), "2x": (c.history_2x, 2), "4x": (c.history_4x, 4)}
    return [
        ContextLatents(latents=latents, at=c.at[name], scale=scale, weight=weights.get(name, 1.0))
        for name, (latents, scale) in named.items()
    ]


def packed(model: Ours, c: Case, **weights: float) -> PackedTokens:
    return model.pack(spans(c, **weights), c.at["noisy"], tuple(c.x.shape[2:]))


def table(model: Ours, c: Case, timesteps: Tensor | None = None):
    steps = c.timestep.unsqueeze(0) if timesteps is None else timesteps
    return model.condition(steps, c.guidance, c.pooled, c.text, c.mask, c.image)


def our_velocity(model: Ours, c: Case, execution: Execution = PLAIN) -> Tensor:
    return model(c.x, table(model, c).step(0), packed(model, c), execution=execution)


def distance(a: Tensor, reference: Tensor) -> float:
    """Largest difference, in standard deviations of the reference."""
    return float((a - reference).abs().max() / reference.std())
