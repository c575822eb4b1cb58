"""What each kind of work of a job costs, from its shapes: bytes alive at once and multiplications.

Runs the parts of a skeleton on the meta device, each kind once. The transformer is run with two blocks of each kind,
as the others are alike. Boundary: knows sizes, not budgets.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from framepack.memory.rehearsal import Cost, measure
from framepack.models.attention import CACHED_LOGITS, SLOW_FLASH, Attention, chunks, sdpa
from framepack.models.blocks import Execution
from framepack.models.packing import ContextLatents
from framepack.models.tokenizers import PREFIX_TOKENS, PROMPT_TOKENS
from framepack.models.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.pipeline.skeleton import Skeleton
from framepack.spec.events import Way
from framepack.spec.plan import SectionPlan

T = TypeVar("T")
LETTERS_PER_TOKEN = 4
"""Of English text, about; a token more or less changes nothing that matters."""
TWO = 2
HISTORY_AND_BANK = 24
"""Latents, about."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the costs of a job depend on."""

    height: int
    """In pixels."""
    width: int
    prompt: int
    """Text tokens of the longest prompt."""
    steps: int
    section: SectionPlan
    """The one with most tokens."""
    decoded: int
    """Most latents a section decodes."""

    @property
    def latent(self) -> tuple[int, int]:
        return self.height // 8, self.width // 8


def prompt_tokens(prompts: list[str]) -> int:
    """About how many tokens the longest of them has, the template's end included."""
    longest = max((len(prompt) for prompt in prompts), default=0)
    return min(longest // LETTERS_PER_TOKEN + 2, PROMPT_TOKENS)


class Costs:
    """Of one skeleton, computing on one kind of device; each is worked out once."""

    def __init__(self, parts: Skeleton, *, on: str) -> None:
        """on: the kind of device; `meta` for one that is not here."""
        self.parts = parts
        self.on_cpu = on == "cpu"
        self.attention = attention_on(on, parts.dtypes.transformer)
        self._known: dict[object, Any] = {}

    def text(self, size: Size) -> Cost:
        """Llama and CLIP over one prompt."""
        return self._once(("text", size.prompt), lambda: self._text(size.prompt + PREFIX_TOKENS))

    def image(self) -> Cost:
        """SigLIP over one picture."""
        siglip: Any = self.parts.image
        side = siglip.config.image_size
        pixels = empty(1, 3, side, side, dtype=self.parts.dtypes.encoders)
        return self._once("image", lambda: self._measure(lambda: siglip(pixels).last_hidden_state.float()))

    def encode(self, size: Size, way: Way) -> Cost:
        """The VAE over one picture."""
        vae, autoencoder = self.parts.vae, self._autoencoder

        def work() -> Tensor:
            pixels = empty(1, 3, 1, size.height, size.width, dtype=torch.uint8).float().to(self.parts.dtypes.vae)
            vae._tile(spatial=way == "tiled", framewise=True)
            return autoencoder.encode(pixels).latent_dist.mode().float()

        return self._once(("encode", size.latent, way == "tiled"), lambda: self._measure(work))

    def decode(self, size: Size, way: Way) -> Cost:
        """The VAE's decoder over a section's clip: the peak is that of one tile of time."""
        tile = min(size.decoded, self.parts.vae.time_tiles.length)
        z = empty(1, self.parts.vae.latent_channels, tile, *size.latent, dtype=self.parts.dtypes.vae)
        key = ("decode", tile, size.latent, way)
        one = self._once(key, lambda: self._measure(lambda: self.parts.vae.decode_tile(z, way)))
        return replace(one, flops=one.flops * self._tiles(size))

    def prepare(self, size: Size) -> Cost:
        """The condition table of one prompt, for all steps."""
        transformer, picture = self.parts.transformer, self._picture  # built before anything is counted
        return self._once(
            ("prepare", size.prompt, size.steps),
            lambda: self._measure(lambda: condition(transformer, size.prompt, picture, size.steps)),
        )

    def step(self, size: Size, rows: int | None) -> Cost:
        """One forward of the transformer."""
        key = (size.prompt, size.latent, size.section.context, len(size.section.latents))
        config = self.parts.transformer.config
        double, single = (min(count, TWO) for count in (config.num_layers, config.num_single_layers))
        peak = self._once(("step", rows, key), lambda: self._step(size, double, single, rows))
        flops = self._once(("step", None, key), lambda: self._step(size, double, single, None)).flops
        for count, part in ((config.num_layers, (1, 0)), (config.num_single_layers, (0, 1))):
            if count > TWO:
                less = self._once(
                    ("less", part, key), lambda part=part: self._step(size, double - part[0], single - part[1], None)
                )
                flops += (count - TWO) * (self._known[("step", None, key)].flops - less.flops)
        return replace(peak, flops=flops)

    def tables(self, size: Size, prompts: int, mixes: int) -> int:
        """Bytes of the condition tables of so many prompts, and of the image tokens of so many mixes of pictures."""
        of_prompt, of_mix = self._once(("table", size.prompt, size.steps), lambda: self._table(size))
        return prompts * of_prompt + mixes * of_mix

    def beside(self, size: Size, branches: int, cached: bool) -> int:
        """Bytes that sampling keeps on the device beside one forward's: tables, context, history, sampler's states.

        Of the tables only those of the section at hand, one a branch. cached: a block cache keeps a step's signal and
        residual.
        """
        transformer, (height, width) = self.parts.transformer, size.latent
        tokens = sum(len(span.take) * height * width // 4 // span.scale**3 for span in size.section.context)
        noisy = len(size.section.latents) * height * width // 4
        token = transformer.config.width * self.parts.dtypes.transformer.itemsize
        rotary = transformer.config.attention_head_dim // 2 * 8
        latent = 4 * transformer.config.in_channels * height * width
        states = (HISTORY_AND_BANK + 6 * len(size.section.latents)) * latent
        caches = branches * (tokens + 2 * noisy) * token if cached else 0
        tables = self.tables(size, branches, branches)
        return tables + tokens * token + (tokens + noisy) * rotary + states + caches

    def _table(self, size: Size) -> tuple[int, int]:
        """Bytes of one prompt's table without image tokens, and of these."""
        table = condition(self.parts.transformer, size.prompt, self._picture, size.steps)
        return sum(tensor.nbytes for tensor in (*table.modulation, table.final, table.text)), table.image.nbytes

    def _tiles(self, size: Size) -> int:
        """Tiles of time that a section decodes; those of the section before are remembered."""
        stride, window = self.parts.vae.time_tiles.stride, len(size.section.latents)
        repeated = window // stride - 1 if size.decoded > window + 1 and not window % stride else 0
        return max(1, -(-(size.decoded - 1) // stride) - repeated)

    @property
    def _autoencoder(self) -> Any:
        return self.parts.vae.autoencoder

    @property
    def _picture(self) -> int:
        """Image tokens."""
        siglip: Any = self.parts.image
        return (siglip.config.image_size // siglip.config.patch_size) ** 2

    def _text(self, tokens: int) -> Cost:
        llama, clip = self.parts.text.llama, self.parts.text.clip
        ids, places = empty(1, tokens, dtype=torch.long), empty(1, tokens, dtype=torch.long)

        def work(layers: int) -> Tensor:
            x = llama.embed_tokens(ids)
            turn = llama.rotary_emb(x, places)
            for layer in llama.layers[:layers]:
                x = layer(x, attention_mask=None, position_ids=places, position_embeddings=turn)
            return x.float()

        one, two = (self._measure(lambda layers=layers: work(layers)) for layers in (1, TWO))
        words = empty(1, clip.config.max_position_embeddings, dtype=torch.long)
        summary = self._measure(lambda: clip(words).last_hidden_state)
        flops = one.flops + (len(llama.layers) - 1) * (two.flops - one.flops) + summary.flops
        return Cost(activations=max(two.activations, summary.activations), flops=flops)

    def _step(self, size: Size, double: int, single: int, rows: int | None) -> Cost:
        config = replace(self.parts.transformer.config, num_layers=double, num_single_layers=single)
        with torch.device("meta"):
            module = HunyuanVideoTransformer3DModelPacked(config, Execution(attention=self.attention, rows=rows))
        module = module.to(self.parts.dtypes.transformer).eval()
        table = condition(module, size.prompt, self._picture, 1)
        height, width = size.latent

        def latents(frames: int) -> Tensor:
            return empty(1, config.in_channels, frames, height, width)

        spans = [
            ContextLatents(
                latents=latents(len(span.take)),
                at=span.at,
                scale=span.scale,
                weight=span.weight,
                key_scale=span.key_scale,
            )
            for span in size.section.context
        ]
        frames = len(size.section.latents)
        with torch.no_grad():
            packed = module.pack(spans, size.section.at, (frames, height, width))
        x = latents(frames)
        return self._measure(lambda: module(x, table.step(0), packed))

    def _measure(self, work: Callable[[], object]) -> Cost:
        return measure(work, fused_gelu=self.on_cpu)

    def _once(self, key: object, work: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = work()
        return self._known[key]


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def condition(module: HunyuanVideoTransformer3DModelPacked, prompt: int, picture: int, steps: int) -> Any:
    """The condition table of shapes: `prompt` text tokens, `picture` image tokens."""
    config = module.config
    with torch.no_grad():
        return module.condition(
            empty(steps),
            empty(1),
            empty(1, config.pooled_projection_dim),
            empty(1, prompt, config.text_embed_dim),
            None,
            empty(1, picture, config.image_proj_dim),
        )


def attention_on(device: str, dtype: torch.dtype) -> Attention:
    """What holds as much as "auto" does on that kind of device."""
    if device == "mps":
        return shapes_chunked
    return shapes_by_head if device == "cpu" and SLOW_FLASH and dtype == torch.bfloat16 else sdpa


def shapes_chunked(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `attention.sdpa_chunked` holds at once: parts and their sum, a part's logits before and after softmax."""
    mixed, parts = sdpa(query, key, value, bias), chunks(query, key)
    rows = -(-query.shape[1] // parts)
    held = [query.new_empty(query.shape[0], query.shape[2], rows, key.shape[1]) for _ in range(2)]
    held += [torch.empty_like(mixed)] * (parts > 1)
    del held
    return mixed


def shapes_by_head(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `attention.by_head` holds at once beside its result: some rows' logits before and after softmax."""
    mixed, keys = sdpa(query, key, value, bias), key.shape[1]
    rows = min(max(CACHED_LOGITS // keys, 64), query.shape[1])
    held = [query.new_empty(rows, keys) for _ in range(2)]
    del held
    return mixed
