"""Trains the mini model's transformer and encoders on streamed clips; resumes to the bit.

Everything a step needs comes from the recipe's seed and the step's number, so that a run in pieces equals the run in
one go. Knows nothing of the command line.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn

from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.training.amx import use_float32_convolutions
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clips import ClipStream
from framepack.training.data.pool import ImagePool
from framepack.training.data.sample_recipe import SampleMetrics
from framepack.training.data.sections import draw_section
from framepack.training.loop import chunks, run_loop
from framepack.training.optimizer import Optimizer
from framepack.training.replicas import Replicas, replicas
from framepack.training.run_log import append_row, plot_log, read_log, truncate_log
from framepack.training.state import has_state, load_state, save_state
from framepack.training.transformer.export import export_transformer, export_vae, tokenizers_in, write_tokenizers
from framepack.training.transformer.loss import flow_loss
from framepack.training.transformer.recipe import Recipe
from framepack.training.transformer.samples import Sampler
from framepack.training.transformer.scheduled_sampling import with_generated_history
from framepack.training.transformer.start import MARK, Start, read_start
from framepack.training.transformer.towers import Towers
from framepack.training.vae.train import VaeProgress, fitted_folder, prepare_vae, save_vae

SLOW = 0.15
"""radians a token, of the channel pair that encodes where a token is"""
USUAL_WINDOW = 9
"""longer windows get fewer clips in a batch"""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of the log, averaged over its steps."""

    step: int
    samples: int
    loss: float
    gradient: float
    rate: float
    seconds: float


class MiniModel(nn.Module):
    """What is trained together: the transformer and the towers that feed it."""

    def __init__(self, recipe: Recipe, tokenizers: Path) -> None:
        super().__init__()
        self.transformer = HunyuanVideoTransformer3DModelPacked(recipe.model)
        self.towers = Towers(recipe.towers, tokenizers)
        initialise(self.transformer)

    def matrices(self) -> set[str]:
        """Names of the parameters Muon moves: the blocks' matrices."""
        return {
            f"transformer.{name}"
            for name, parameter in self.transformer.named_parameters()
            if parameter.ndim == 2 and ("transformer_blocks." in name or "refiner_blocks." in name)
        }


@torch.no_grad()
def initialise(model: HunyuanVideoTransformer3DModelPacked) -> None:
    """Initialise blocks as identities whose attention prefers a token's own place.

    Modulation and output are zero. A constant in the fast channel pairs of RoPE makes half of the heads attend to
    tokens of equal row and column, whatever their content. In the first block two more heads attend to the text the
    more, the farther right or down a token is: zooming and rolling need that, relative positions do not encode it.
    """
    for block in model.blocks:
        for modulation in block.modulations:
            modulation.linear.weight.zero_()
            modulation.linear.bias.zero_()
        head, heads = model.config.attention_head_dim, model.config.num_attention_heads
        frame, rows, _ = model.config.rope_axes_dim
        for projection in (block.attn.to_q, block.attn.to_k):
            bias = projection.bias.view(heads, head)[: heads // 2]
            for axis in (frame, frame + rows):
                bias[:, axis : axis + 4] = 3.0
    encode_positions(model)
    model.proj_out.weight.zero_()
    model.proj_out.bias.zero_()


@torch.no_grad()
def encode_positions(model: HunyuanVideoTransformer3DModelPacked) -> None:
    """Constants in channel pairs of RoPE, which rotates queries by their place and leaves the keys of text as they are.

    In a slow pair their product grows with the sine of the place, over about the first ten tokens of a row or column;
    in the fastest it goes up and down once in six tokens, like a ripple.
    """
    config = model.config
    attention: Any = model.transformer_blocks[0].attn
    frame, rows, columns = config.rope_axes_dim
    half = config.num_attention_heads // 2
    for head, (begin, size) in enumerate(((frame, rows), (frame + rows, columns)), start=half):
        if head < config.num_attention_heads:
            pair = begin + 2 * round(size / 2 * math.log(SLOW) / -math.log(config.rope_theta))
            attention.to_q.bias.view(-1, config.attention_head_dim)[head, pair] = 2.0
            attention.add_k_proj.bias.view(-1, config.attention_head_dim)[head, pair + 1] = 2.0
            attention.add_k_proj.bias.view(-1, config.attention_head_dim)[head - half, begin] = 2.0


class Trainer:
    """One run's model, optimizer and data, stepped by number."""

    def __init__(
        self,
        recipe: Recipe,
        pool: ImagePool,
        encoder: BlockEncoder,
        base: Path,
        device: torch.device,
        *,
        compiler: str | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        """`base` holds the folders `tokenizer` and `tokenizer_2`; compiler: a torch.compile backend for the blocks."""
        torch.manual_seed(recipe.seed)
        self.recipe, self.pool, self.replicas = recipe, pool, replicas or Replicas()
        model = use_float32_convolutions(MiniModel(recipe, base)).float()
        self.optimizer = Optimizer(model.to(device), model.matrices(), recipe.optimizer)
        self.model = model.bfloat16()
        if compiler:
            for block in self.model.transformer.blocks:
                block.compile(backend=compiler, dynamic=True, fullgraph=True)
        self.stream = ClipStream(encoder, device)
        self.first_step = self.samples = 0

    def load_start(self, start: Start) -> None:
        """Take another training's weights and its place in the recipe; the optimizer is new."""
        start.load_into(self.optimizer)
        self.first_step, self.samples = start.step, start.samples

    def step(self, number: int) -> tuple[float, float]:
        """Train one batch; returns (loss, gradient norm). Processes share the section, not the clips."""
        random = np.random.default_rng((self.recipe.seed, number))
        own = self.replicas.random(self.recipe.seed, number, 1) if self.replicas.world_size > 1 else random
        noise = torch.Generator().manual_seed(int(own.integers(2**62)))
        phase = self.recipe.phase(number)
        size = phase.sizes[random.integers(len(phase.sizes))]
        section = draw_section(random, phase.sections)
        count = self.replicas.local_batch(round(phase.batch * min(1.0, USUAL_WINDOW / len(section.noisy))))
        batch = self.stream.batch(own, phase.clips, self.pool.at(number), section, count, size)
        unprompted = random.random() < phase.flow.text_dropout
        prompts = ("",) * count if unprompted else batch.prompts
        features = self.model.towers(prompts, batch.images)
        if not unprompted:  # without a prompt the previous section could move in any way
            batch = with_generated_history(self.model.transformer, features, batch, noise)
        loss = flow_loss(self.model.transformer, features, batch, phase.flow, noise)
        loss.backward()
        (mean,) = self.replicas.average_gradients(self.model.parameters(), loss.detach())
        norm = self.optimizer.step(self.recipe.schedule.rate(number, self.optimizer.step_count))
        self.samples += count * self.replicas.world_size
        return mean, norm


def train(
    recipe: Recipe,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    seconds: float | None = None,
    workers: int = 1,
    compiled: bool = False,
    start: Path | None = None,
    on_progress: Callable[[VaeProgress | Progress | SampleMetrics], None] = lambda _: None,
) -> int:
    """Train or continue the run in `folder` until the recipe's last step or for `seconds`; returns the steps done.

    The folder gets `vae/` first (see `vae.train`); if the time does not suffice for it, no step is done. Then it gets
    `log.csv`, `curve.png`, `state/` and, after every call, `model/`: the model as it stands, a models folder; if the
    recipe asks for samples, also `samples/` and `samples.csv`. torchrun's processes compute a share of each batch each.
    workers: processes that draw images. compiled: with torch.compile, for CUDA only. start: a models folder whose VAE
    and weights a new run begins with, at the step it had reached. Raises ValueError when the folder holds a run of
    another shape, for an unsuitable `start`, and for compiling on another device.
    """
    if compiled and torch.device(device).type != "cuda":
        raise ValueError(f"compiling needs a CUDA device, got {device}: leave it out")
    model = None if start is None else read_start(start)
    if model and model.step >= recipe.schedule.steps:
        raise ValueError(
            f"the model in {start} has {model.step} steps already and the recipe ends at {recipe.schedule.steps}: "
            "give it more steps"
        )
    together = replicas()
    device = together.device(device)
    with together.main_process_first():
        if together.is_main:
            _prepare(recipe, folder, model)
    with ImagePool(recipe.pool, recipe.seed, workers) as pool:
        began = time.monotonic()
        options: dict[str, Any] = {"device": device, "seconds": seconds, "on_progress": on_progress}
        vae = prepare_vae(recipe.vae, folder / "vae", pool, together, **options)
        if vae is None:
            return 0
        seconds = None if seconds is None else seconds - (time.monotonic() - began)
        base, compiler = tokenizers_in(folder / "model"), "inductor" if compiled else None
        trainer = Trainer(recipe, pool, BlockEncoder(vae), base, device, compiler=compiler, replicas=together)
        with together.main_process_first():
            if model and not has_state(folder / "state"):
                trainer.load_start(model)
        sampler = Sampler(recipe, folder, vae, device) if recipe.samples.minutes and together.is_main else None
        number = _run(trainer, folder, seconds, on_progress, sampler)
    if together.is_main:
        if sampler is None:
            export_vae(folder / "model", vae)
        export_transformer(folder / "model", recipe, trainer.optimizer.averaged(), number, trainer.samples)
    return number


def _prepare(recipe: Recipe, folder: Path, start: Start | None) -> None:
    """Write what a run begins with into its folder, in one process. ValueError where the folder holds another run."""
    if start is None and (folder / MARK).is_file() and not has_state(folder / "state"):
        raise ValueError(f"the training in {folder} was to begin with a model and has not taken a step: name it again")
    folder.mkdir(parents=True, exist_ok=True)
    if start:
        start.record(folder)
    write_tokenizers(folder / "model")
    vae = fitted_folder(folder / "vae") if recipe.vae.further else folder / "vae"
    if start and not vae.is_dir() and not (folder / "vae").is_dir():
        save_vae(start.vae(), vae)


def _run(
    trainer: Trainer,
    folder: Path,
    seconds: float | None,
    on_progress: Callable[[Progress | SampleMetrics], None],
    sampler: Sampler | None,
) -> int:
    """Step, log, sample and save; returns the number of steps done since the run began."""
    state, log, recipe = folder / "state", folder / "log.csv", trainer.recipe
    together, first = trainer.replicas, trainer.first_step
    with together.main_process_first():
        if has_state(state):
            first, trainer.samples = load_state(state, trainer.optimizer)
        if together.is_main:
            for path in (log, folder / "samples.csv"):
                truncate_log(path, first)
    saved = sampled = time.monotonic()

    def report(line: Progress) -> None:
        append_row(log, asdict(line))
        on_progress(line)

    def save(step: int, ends: bool) -> None:
        nonlocal saved, sampled
        now = time.monotonic()
        sample = sampler and (ends or now - sampled > 60 * recipe.samples.minutes)
        if sampler and sample:
            on_progress(sampler.sample(step, trainer.samples, trainer.optimizer.averaged()))
            sampled = time.monotonic()
        if ends or sample or now - saved > 60 * recipe.schedule.checkpoint_minutes:
            save_state(state, trainer.optimizer, step, trainer.samples)
            plot_log(read_log(log), folder / "curve.png", samples=read_log(folder / "samples.csv"))
            saved = time.monotonic()

    lines, steps = _steps(trainer, first), recipe.schedule.steps
    return run_loop(lines, together, first=first, steps=steps, seconds=seconds, on_line=report, save=save)


def _steps(trainer: Trainer, first: int) -> Iterator[Progress]:
    """Step from `first` on; a line for each chunk."""
    schedule = trainer.recipe.schedule
    for numbers in chunks(first, schedule.steps):
        began = time.monotonic()
        losses, norms = zip(*(trainer.step(number) for number in numbers), strict=True)
        yield Progress(
            step=numbers.stop,
            samples=trainer.samples,
            loss=fmean(losses),
            gradient=fmean(norms),
            rate=schedule.rate(numbers.stop - 1, trainer.optimizer.step_count - 1),
            seconds=time.monotonic() - began,
        )
