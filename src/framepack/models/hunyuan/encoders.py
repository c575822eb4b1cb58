"""Prompt and picture -> features: Llama and CLIP for text, SigLIP for images (transformers' classes, our loader).

With `tokenizers` the only file that imports transformers. Knows folders of the public layout; knows nothing
of pipelines. The layer taken is the third from last hidden state (HunyuanVideo, arXiv 2412.03603).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from framepack.files.words import Words
from framepack.models.checkpoint import (
    NameRules,
    check_weights,
    load_weights,
    on_meta,
    read_config,
)
from framepack.models.family import Fill
from framepack.models.hunyuan.preprocess import LARGEST_SIDE, load_preprocessor, preprocess
from framepack.models.hunyuan.tokenizers import (
    PREFIX_TOKENS,
    PROMPT_TOKENS,
    TEMPLATE_PREFIX,
    TEMPLATE_SUFFIX,
    load_tokenizers,
    read_words,
    require_known,
    tokenize,
)
from framepack.models.transfer import to_device

LETTERS_PER_TOKEN = 4
"""Of English text, about; a token more or less changes nothing that matters."""
HIDDEN_STATE = -3
"""Of Llama's hidden states (embeddings first): the last two layers and the final norm are never run, nor loaded."""

CLIP_RULES = NameRules(prefixes=("text_model.",), ignored=("position_ids", "text_projection."))
SIGLIP_RULES = NameRules(prefixes=("vision_model.",), ignored=("position_ids", "head.", "text_model.", "logit_"))


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """What the transformer hears of a prompt."""

    text: Tensor
    """(1, L, D) float32, Llama's."""
    pooled: Tensor
    """(1, P) float32, CLIP's."""
    text_cut: int
    """Tokens at the prompt's end that Llama did not read."""
    pooled_cut: int
    """Tokens at the prompt's end that CLIP did not read."""
    unknown: str | None = None
    """A sentence where a model of few words knows nothing of the prompt."""

    def notice(self) -> str | None:
        """One sentence for the user when the prompt was too long, else None."""
        if self.text_cut:
            return (
                f"The prompt is {self.text_cut} tokens longer than the {PROMPT_TOKENS} the model reads: "
                "its end was left out. Shorten it, or put what matters first."
            )
        if self.pooled_cut:
            return (
                f"The summary of the prompt (CLIP) leaves out its last {self.pooled_cut} tokens; "
                "the detailed text encoder read all of it. Put what matters first."
            )
        return None


class TextEncoder(nn.Module):
    """Llama (without the layers nobody reads) and CLIP's text tower, with their tokenizers.

    words: how a model of few words hears free text; None for one that reads any. Without tokenizers it takes ids alone.
    """

    def __init__(
        self,
        llama: LlamaModel,
        clip: CLIPTextModel,
        tokenizer: Tokenizer | None = None,
        tokenizer_2: Tokenizer | None = None,
        words: Words | None = None,
    ) -> None:
        super().__init__()
        self.words = words
        self.llama = llama
        self.clip = clip
        self.tokenizer = tokenizer
        self.tokenizer_2 = tokenizer_2

    @property
    def blocks(self) -> list[nn.Module]:
        """Llama's layers in the order they run, for a memory manager that streams them."""
        return list(self.llama.layers)

    @torch.no_grad()
    def encode(self, prompt: str, *, still: bool = False) -> TextFeatures:
        """Features of one prompt, without padding (masked later anyway). An empty prompt is a prompt.

        still: a model of few words stands still where it knows nothing of the prompt, which it then reports.
        """
        unknown = None
        if self.words is not None:
            unknown = self.words.notice(prompt) if still else None
            prompt = self.words.hear(prompt, still=still).text
        assert self.tokenizer is not None
        assert self.tokenizer_2 is not None
        llama_ids, text_cut = tokenize(
            self.tokenizer, TEMPLATE_PREFIX + prompt + TEMPLATE_SUFFIX, PREFIX_TOKENS + PROMPT_TOKENS
        )
        clip_ids, pooled_cut = tokenize(self.tokenizer_2, prompt, self.clip.config.max_position_embeddings)
        require_known("tokenizer", llama_ids, self.llama.config.vocab_size)
        require_known("tokenizer_2", clip_ids, self.clip.config.vocab_size)
        text, pooled = self(self._ids(llama_ids), self._ids(clip_ids))
        return TextFeatures(text=text, pooled=pooled, text_cut=text_cut, pooled_cut=pooled_cut, unknown=unknown)

    def forward(self, llama_ids: Tensor, clip_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (1, L) of both tokenizers to features (1, L - the template, D) and (1, P), float32."""
        text = self.llama(llama_ids, use_cache=False).last_hidden_state[:, PREFIX_TOKENS:].float()
        return text, self.clip(clip_ids).pooler_output.float()

    def example(self, letters: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Ids of a prompt of so many letters, all 0: what `forward` takes, for an estimate."""
        tokens = min(letters // LETTERS_PER_TOKEN + 2, PROMPT_TOKENS) + PREFIX_TOKENS
        shapes = (tokens, self.clip.config.max_position_embeddings)
        return tuple(torch.zeros(1, shape, dtype=torch.long, device=device) for shape in shapes)  # pyright: ignore

    def _ids(self, ids: list[int]) -> Tensor:
        embeddings: Any = self.llama.get_input_embeddings()
        return torch.tensor([ids], device=embeddings.weight.device)


class ImageEncoder(nn.Module):
    """SigLIP's vision tower with its preprocessing (PIL, no torchvision)."""

    def __init__(self, siglip: SiglipVisionModel, preprocessor: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.siglip = siglip
        self.preprocessor = preprocessor or {}

    @torch.no_grad()
    def encode(self, image: np.ndarray) -> Tensor:
        """Features (1, N, I) float32 of an RGB picture, uint8 (H, W, 3), of any size and shape."""
        weight = self.siglip.embeddings.patch_embedding.weight
        pixels = torch.from_numpy(preprocess(image, self.preprocessor))[None]
        return self(to_device(pixels.to(weight.dtype), weight.device))

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, side, side), preprocessed, to (1, N, I) float32."""
        return self.siglip(pixels).last_hidden_state.float()

    def example(self, device: torch.device | str) -> Tensor:
        """What `forward` takes, without a picture, for an estimate."""
        weight, side = self.siglip.embeddings.patch_embedding.weight, int(self.siglip.config.image_size)  # pyright: ignore
        return torch.zeros(1, 3, side, side, dtype=weight.dtype, device=device)


def load_text_encoder(base: Path, dtype: torch.dtype | None = None, fill: Fill = load_weights) -> TextEncoder:
    """Both text towers from the folder that holds `text_encoder`, `text_encoder_2`, `tokenizer` and `tokenizer_2`.

    A table of words next to them is used. Tokenizers first: they are small, and a wrong one is found before gigabytes
    are read. fill: how weights get in.
    """
    words = read_words(base)
    tokenizer, tokenizer_2 = load_tokenizers(base)
    llama, rules = empty_llama(base / "text_encoder")
    rotary = type(llama.rotary_emb)(llama.config)
    frequencies = {f"rotary_emb.{name}": buffer for name, buffer in rotary.named_buffers()}
    fill(llama, base / "text_encoder", dtype, rules, frequencies)
    clip, rules = empty_clip(base / "text_encoder_2")
    fill(clip, base / "text_encoder_2", dtype, rules, _position_ids(clip))
    return TextEncoder(llama, clip, tokenizer, tokenizer_2, words).eval()


def load_image_encoder(vision: Path, dtype: torch.dtype | None = None, fill: Fill = load_weights) -> ImageEncoder:
    """SigLIP from the folder that holds `image_encoder` and `feature_extractor`."""
    preprocessor = load_preprocessor(vision)
    siglip, rules = empty_siglip(vision / "image_encoder")
    fill(siglip, vision / "image_encoder", dtype, rules, _position_ids(siglip))
    return ImageEncoder(siglip, preprocessor).eval()


def check_text_encoder(base: Path) -> None:
    """Opens tokenizers and all weight files' headers; CheckpointError when anything is missing or does not fit."""
    read_words(base)
    load_tokenizers(base)
    for folder, empty in ((base / "text_encoder", empty_llama), (base / "text_encoder_2", empty_clip)):
        module, rules = empty(folder)
        check_weights(module, folder, rules)


def check_image_encoder(vision: Path) -> None:
    """As `check_text_encoder`, for SigLIP."""
    load_preprocessor(vision)
    module, rules = empty_siglip(vision / "image_encoder")
    check_weights(module, vision / "image_encoder", rules)


def empty_llama(folder: Path) -> tuple[LlamaModel, NameRules]:
    """Llama on the meta device, cut after the layer that makes `HIDDEN_STATE`, and what its files may hold besides."""
    content = read_config(folder)

    def make() -> LlamaModel:
        config = LlamaConfig.from_dict(content)
        config.num_hidden_layers += HIDDEN_STATE + 1
        return LlamaModel(config)

    llama = on_meta(make, folder)
    llama.norm = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  # the wanted state is not normed
    run = llama.config.num_hidden_layers
    never_run = tuple(f"layers.{i}." for i in range(run, run - HIDDEN_STATE - 1))
    return llama, NameRules(
        prefixes=("model.",), ignored=(*never_run, "norm.weight", "lm_head.", "rotary_emb.inv_freq")
    )


def empty_clip(folder: Path) -> tuple[CLIPTextModel, NameRules]:
    """CLIP's text tower on the meta device."""
    content = read_config(folder)
    return on_meta(lambda: CLIPTextModel(CLIPTextConfig.from_dict(content)), folder), CLIP_RULES


def empty_siglip(folder: Path) -> tuple[SiglipVisionModel, NameRules]:
    """SigLIP's vision tower on the meta device, without the pooling head that nobody reads."""
    content = {**read_config(folder), "vision_use_head": False}

    def make() -> SiglipVisionModel:
        config = SiglipVisionConfig.from_dict(content)
        side = config.image_size
        if not isinstance(side, int) or side > LARGEST_SIDE:
            raise ValueError(f"image_size must be at most {LARGEST_SIDE}, got {side}")
        return SiglipVisionModel(config)

    return on_meta(make, folder), SIGLIP_RULES


def _position_ids(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that building on the meta device leaves empty and no file holds."""
    names = [(name, buffer) for name, buffer in module.named_buffers() if name.endswith("position_ids")]
    return {name: torch.arange(buffer.shape[-1])[None] for name, buffer in names}
