"""HunyuanVideo's transformer with FramePack's packed context, cut at the seams of time.

`condition` runs once a job, `pack` once a section, `forward` once a step; what the first two return is passed to the
third, and the module holds nothing of a run. Boundary: knows latents, indices and vectors, not sections or prompts.
Sources: FramePack (arXiv 2504.12626), HunyuanVideo (arXiv 2412.03603). Parameter names are the checkpoint's.
Shapes: S steps, B batch, C latent channels, T x h x w latent window, L tokens, V video tokens, D width.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from framepack.models.cache_protocol import BlockCache
from framepack.models.conditioning import ConditionTable, StepCondition, TimeTextEmbed, crop_text, rounded_sinusoids
from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.blocks import PLAIN, DoubleBlock, Execution, Joint, SingleBlock
from framepack.models.hunyuan.refiner import TokenRefiner
from framepack.models.layers import ImageProjection, Modulation, modulated_norm
from framepack.models.linear import ExactLinear
from framepack.models.nag import NagLayout
from framepack.models.packing import ContextEmbed, ContextLatents, PackedTokens, PatchEmbed, pack_context

Block = DoubleBlock | SingleBlock


class HunyuanVideoTransformer3DModelPacked(nn.Module):
    """Predicts the velocity of a noisy latent window from text, image and packed context."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.x_embedder = PatchEmbed(config)
        self.clean_x_embedder = ContextEmbed(config)
        self.context_embedder = TokenRefiner(config)
        self.image_projection = ImageProjection(config.image_proj_dim, width)
        self.time_text_embed = TimeTextEmbed(config)
        self.transformer_blocks = nn.ModuleList([DoubleBlock(config) for _ in range(config.num_layers)])
        self.single_transformer_blocks = nn.ModuleList([SingleBlock(config) for _ in range(config.num_single_layers)])
        self.norm_out = Modulation(width, 2, scales=(0,))
        self.proj_out = ExactLinear(width, config.patch_size**2 * config.out_channels)

    @property
    def blocks(self) -> list[Block]:
        """All blocks, in the order they run: only `forward` reads them, one after the other."""
        return [*self.transformer_blocks, *self.single_transformer_blocks]  # pyright: ignore[reportReturnType]

    @property
    def once_per_job(self) -> list[nn.Module]:
        """Modules that only `condition` reads: nothing else needs their weights. Modulation lies inside the blocks."""
        modulations = [modulation for block in self.blocks for modulation in block.modulations]
        return [*modulations, self.norm_out, self.context_embedder, self.time_text_embed, self.image_projection]

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, read from a weight that is there for every use."""
        return self.clean_x_embedder.proj.weight.dtype

    def condition(
        self,
        timesteps: Tensor,
        guidance: Tensor,
        pooled: Tensor,
        text: Tensor,
        text_mask: Tensor | None,
        image: Tensor | None,
    ) -> ConditionTable:
        """Compute what only step, prompt and image decide. Differentiable.

        timesteps: sigma * 1000, (S,) for all samples or (S, B). guidance: scale * 1000, (B,). pooled: (B, P), or
        (S, B, P) where steps differ. text: (B, L, 4096 or the config's width) with text_mask (B, L), True where a
        token is, padding on the right, or None. image: (B, N, I), None for none. Timesteps and guidance are rounded to
        the weights' dtype, as the public app does. Raises ValueError for a mask without tokens or with holes.
        """
        text, text_mask = crop_text(text, text_mask)
        dtype = self.dtype
        batch, steps = len(text), len(timesteps)
        time = rounded_sinusoids(timesteps.reshape(steps, -1).expand(steps, batch), dtype)
        vector = self.time_text_embed(time, rounded_sinusoids(guidance, dtype), pooled.to(dtype))
        refined = self.context_embedder(
            text.to(dtype).repeat(steps, 1, 1),
            time.flatten(0, 1),
            None if text_mask is None else text_mask.repeat(steps, 1),
        )
        return ConditionTable(
            modulation=tuple(torch.cat([part(vector) for part in block.modulations], dim=-2) for block in self.blocks),
            final=self.norm_out(vector),
            text=refined.unflatten(0, (steps, batch)),
            text_mask=text_mask,
            image=refined.new_empty(batch, 0, self.config.width) if image is None else self.project_image(image),
        )

    def project_image(self, image: Tensor) -> Tensor:
        """Image features (B, N, I) to tokens (B, N, D), to give one section another image than the job's."""
        return self.image_projection(image.to(self.dtype))

    def pack(
        self, context: Sequence[ContextLatents], noisy_at: Sequence[float], shape: tuple[int, int, int]
    ) -> PackedTokens:
        """Embed a section's context and place all its tokens. Differentiable.

        Latents of one scale are joined in the order given. noisy_at: the frame index of each noisy latent.
        shape: (T, h, w) of the noisy latents. Raises ValueError where sizes do not fit.
        """
        return pack_context(self.config, self.clean_x_embedder, context, noisy_at, shape)

    def forward(
        self,
        x: Tensor,
        step: StepCondition,
        packed: PackedTokens,
        cache: BlockCache | None = None,
        execution: Execution = PLAIN,
    ) -> Tensor:
        """Velocity of the noisy latents `x`, (B, C, T, h, w), in float32. Differentiable."""
        joint = self._joint(step, packed, execution)
        noisy = self.x_embedder(x.to(packed.context.dtype))
        context = packed.context.expand(len(x), -1, -1)
        negative = [] if step.negative is None else [step.negative]
        tokens = torch.cat([*negative, context, noisy, step.tokens], dim=1)
        window = slice(joint.negative + context.shape[1], joint.negative + joint.video)
        tokens = self._blocks(tokens, step, joint, window, cache)
        scale, shift = step.final.unbind(dim=1)
        patches = self.proj_out(modulated_norm(tokens, shift, scale))
        frames, rows, _ = packed.shape
        patch = self.config.patch_size
        return rearrange(patches, "b (t h w) (c p q) -> b c t (h p) (w q)", t=frames, h=rows // patch, p=patch, q=patch)

    def trial(self, tokens: int, device: torch.device | str) -> Callable[[], Tensor]:
        """One block of this width on so many random tokens on `device`, to time it."""
        width, dtype, head = self.config.width, self.dtype, self.config.attention_head_dim
        with torch.device(device):
            block = SingleBlock(self.config)
            block.norm = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  # its work is not a step's
            block = block.to(dtype)
            x, modulation = torch.randn(1, tokens, width, dtype=dtype), torch.randn(1, 3, width, dtype=dtype)
            rope = torch.ones(1, tokens, 1, head // 2, dtype=torch.complex64)
        joint = Joint(rope=rope, key_rope=rope, video=tokens, bias=None, execution=PLAIN)
        return lambda: block(x, modulation, joint)

    def _joint(self, step: StepCondition, packed: PackedTokens, execution: Execution) -> Joint:
        """RoPE, attention bias and place of the prompts in the whole sequence."""
        video, text = len(packed.rope), step.tokens.shape[1]
        layout = None
        if step.nag is not None and step.negative is not None:
            layout = NagLayout(nag=step.nag, negative=step.negative.shape[1], video=video, image=step.image)
        around = (layout.negative if layout else 0, text)
        before, after = (packed.rope.new_ones(count, 1, packed.rope.shape[2]) for count in around)
        bias = None if step.mask is None else nn.functional.pad(step.mask, (around[0] + video, 0), value=True)
        if packed.key_bias is not None:
            weights = nn.functional.pad(packed.key_bias, around).unsqueeze(0)
            bias = weights if bias is None else weights.masked_fill(~bias, float("-inf"))
            bias = bias.to(step.tokens.dtype)
        rope = torch.cat([before, packed.rope, after]).unsqueeze(0)
        key_rope = rope
        if packed.key_scale is not None:
            key_rope = rope * nn.functional.pad(packed.key_scale, around, value=1.0)[:, None, None]
        return Joint(
            rope=rope,
            key_rope=key_rope,
            video=video,
            bias=None if bias is None else bias[:, None, None, :],
            execution=execution,
            nag=layout,
        )

    def _blocks(
        self, tokens: Tensor, step: StepCondition, joint: Joint, window: slice, cache: BlockCache | None
    ) -> Tensor:
        """Run the blocks, or what the cache leaves of them: (B, L, D) to the noisy tokens, (B, L_noisy, D)."""
        if cache is None:
            return self._run(0, None, tokens, step, joint)[:, window]
        probe = cache.probe_blocks
        probed = self._run(0, probe, tokens, step, joint)
        video = slice(joint.negative, joint.negative + joint.video)
        if probe:
            signal = probed[:, video] - tokens[:, video]
        else:
            shift, scale = step.modulation[0][:, :2].unbind(dim=1)
            signal = modulated_norm(probed[:, video], shift, scale)
        residual = cache.lookup(step.index, signal)
        if residual is not None:
            return probed[:, window] + residual
        output = self._run(probe, None, probed, step, joint)[:, window]
        cache.store(output - probed[:, window])
        return output

    def _run(self, first: int, last: int | None, tokens: Tensor, step: StepCondition, joint: Joint) -> Tensor:
        recompute = joint.execution.checkpointing and torch.is_grad_enabled()
        for block, modulation in zip(self.blocks[first:last], step.modulation[first:last], strict=True):
            run = partial(checkpoint, block, use_reentrant=False) if recompute else block
            tokens = run(tokens, modulation, joint)
        return tokens
