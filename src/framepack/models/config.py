"""The transformer's shape: exactly the fields of a checkpoint's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of `HunyuanVideoTransformer3DModelPacked`; the defaults are FramePackI2V_HY's (12.874 B parameters)."""

    in_channels: int = 16
    out_channels: int = 16
    num_attention_heads: int = 24
    attention_head_dim: int = 128
    num_layers: int = 20
    """Double blocks: video and text have weights of their own."""
    num_single_layers: int = 40
    num_refiner_layers: int = 2
    mlp_ratio: float = 4.0
    patch_size: int = 2
    patch_size_t: int = 1
    qk_norm: str = "rms_norm"
    guidance_embeds: bool = True
    text_embed_dim: int = 4096
    pooled_projection_dim: int = 768
    rope_theta: float = 256.0
    rope_axes_dim: tuple[int, int, int] = (16, 56, 56)
    """Channels of a head that turn with frame, row and column."""
    has_image_proj: bool = True
    image_proj_dim: int = 1152
    has_clean_x_embedder: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for what these classes cannot compute."""
        if sum(self.rope_axes_dim) != self.attention_head_dim or any(d % 2 for d in self.rope_axes_dim):
            raise ValueError(
                f"rope_axes_dim must be even and add up to attention_head_dim {self.attention_head_dim}, "
                f"got {self.rope_axes_dim}"
            )
        supported = {"qk_norm": "rms_norm", "patch_size_t": 1}
        supported |= {"has_image_proj": True, "has_clean_x_embedder": True}
        for name, value in supported.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} must be {value!r} in a FramePack checkpoint, got {getattr(self, name)!r}: "
                    "this is another model's config.json"
                )

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Build from a parsed config.json; entries that start with `_` are skipped, unknown ones are a ValueError."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in config.items() if not name.startswith("_")}
        # diffusers writes this one for its other HunyuanVideo models; FramePack has no such conditioning.
        if values.pop("image_condition_type", None) is not None:
            raise ValueError("image_condition_type must be null in a FramePack checkpoint's config.json")
        if unknown := values.keys() - known:
            raise ValueError(f"config.json has unknown entries {sorted(unknown)}: this is another model's config.json")
        if "rope_axes_dim" in values:
            values["rope_axes_dim"] = tuple(values["rope_axes_dim"])
        return cls(**values)

    @property
    def width(self) -> int:
        """Channels of a token: heads times head size."""
        return self.num_attention_heads * self.attention_head_dim
