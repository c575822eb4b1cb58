"""The mini model's text and image encoders as training runs them: trainable, in batches of equal length.

They compute what `models.encoders` computes at inference: Llama's third last hidden state after the prompt
template, CLIP's pooled output, SigLIP's tokens. Layers that no one reads are made at export, not here.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, SiglipVisionConfig, SiglipVisionModel

from framepack.models.hunyuan.encoders import HIDDEN_STATE
from framepack.models.hunyuan.tokenizers import PREFIX_TOKENS, TEMPLATE_PREFIX, TEMPLATE_SUFFIX


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes of the three encoders."""

    text: int = 128
    text_layers: int = 1
    """layers that are read; two more follow in the exported Llama"""
    pooled: int = 64
    pooled_layers: int = 2
    image: int = 64
    image_layers: int = 2
    image_size: int = 64


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the transformer hears and sees: text (B, L, D), pooled (B, P), image (B, N, I)."""

    text: Tensor
    pooled: Tensor
    image: Tensor


def llama_config(config: TowerConfig, vocabulary: int, layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=config.text,
        intermediate_size=2 * config.text,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=4,
    )


def clip_config(config: TowerConfig, vocabulary: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=config.pooled,
        intermediate_size=2 * config.pooled,
        projection_dim=config.pooled,
        num_hidden_layers=config.pooled_layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def siglip_config(config: TowerConfig) -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=config.image,
        intermediate_size=2 * config.image,
        num_hidden_layers=config.image_layers,
        num_attention_heads=4,
        image_size=config.image_size,
        patch_size=16,
        vision_use_head=False,
    )


class Towers(nn.Module):
    """Llama, CLIP and SigLIP with the tokenizers of `folder` (holding `tokenizer` and `tokenizer_2`)."""

    def __init__(self, config: TowerConfig, folder: Path) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
        self.tokenizer_2 = Tokenizer.from_file(str(folder / "tokenizer_2" / "tokenizer.json"))
        self.llama = LlamaModel(llama_config(config, self.tokenizer.get_vocab_size(), config.text_layers))
        # the state that is read comes before the final norm
        self.llama.norm = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        self.clip = CLIPTextModel(clip_config(config, self.tokenizer_2.get_vocab_size()))
        self.siglip = SiglipVisionModel(siglip_config(config))

    def forward(self, prompts: tuple[str, ...], images: Tensor) -> Features:
        """prompts of one length in tokens; images (B, 3, H, W) in -1..1, any size."""
        weight = self.llama.embed_tokens.weight
        llama = [self.tokenizer.encode(TEMPLATE_PREFIX + prompt + TEMPLATE_SUFFIX).ids for prompt in prompts]
        clip = [self.tokenizer_2.encode(prompt).ids for prompt in prompts]
        text = self.llama(torch.tensor(llama, device=weight.device), use_cache=False).last_hidden_state
        pooled = self.clip(torch.tensor(clip, device=weight.device)).pooler_output
        side = self.config.image_size
        small = functional.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False)
        image = self.siglip(small.clamp(-1, 1).to(weight.dtype)).last_hidden_state
        return Features(text=text[:, PREFIX_TOKENS:], pooled=pooled, image=image)


def exported_layers(config: TowerConfig) -> int:
    """Layers of the Llama on disk: `hidden_states[-3]` is then the state after the trained ones."""
    return config.text_layers - HIDDEN_STATE - 1
