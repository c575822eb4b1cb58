"""Trains the mini model's transformer and encoders on streamed clips; resumes to the bit.

Everything a step needs comes from the recipe's seed and the step's number, so a run cut into pieces is the run in one
go. Knows nothing of the command line.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.training.amx import trust_convolutions
from framepack.training.curve import append_row, cut_rows, draw_curve, read_log
from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clips import ClipStream
from framepack.training.data.pool import ImagePool
from framepack.training.data.sample_recipe import Sampled
from framepack.training.data.sections import draw_section
from framepack.training.optimizer import Optimizer
from framepack.training.replicas import Replicas, replicas
from framepack.training.state import has_state, load_state, save_state
from framepack.training.transformer.export import export_transformer, export_vae, tokenizers_in, write_tokenizers
from framepack.training.transformer.loss import flow_loss
from framepack.training.transformer.own_history import with_own_history
from framepack.training.transformer.recipe import Recipe
from framepack.training.transformer.samples import Sampler
from framepack.training.transformer.start import MARK, Start, read_start
from framepack.training.transformer.towers import Towers
from framepack.training.vae.train import VaeProgress, fitted_beside, prepare_vae, save_vae

LOG_EVERY = 20
SLOW = 0.15
"""radians a token, of the channel pair that tells where a token is"""
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
        start_weights(self.transformer)

    def matrices(self) -> set[str]:
        """Names of the parameters Muon moves: the blocks' matrices."""
        return {
            f"transformer.{name}"
            for name, parameter in self.transformer.named_parameters()
            if parameter.ndim == 2 and ("transformer_blocks." in name or "refiner_blocks." in name)
        }


@torch.no_grad()
def start_weights(model: HunyuanVideoTransformer3DModelPacked) -> None:
    """Blocks begin as identities that look at their own place.

    Modulation and output are zero; a constant in the fast channel pairs of RoPE draws half of the heads to tokens of
    equal row and column, whatever the tokens hold. In the first block two more heads listen to the text the more, the
    farther right or down they are: what zooming and rolling need to know, and relative positions alone do not tell.
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
    tell_positions(model)
    model.proj_out.weight.zero_()
    model.proj_out.bias.zero_()


@torch.no_grad()
def tell_positions(model: HunyuanVideoTransformer3DModelPacked) -> None:
    """Constants in channel pairs of RoPE: queries are turned by their place, the keys of text are not.

    In a slow pair their product grows with the sine of the place, over about the first ten tokens of a row or column;
    in the fastest it goes up and down once in six tokens, like a ripple.
    """
    config = model.config
    attention: Any = model.transformer_blocks[0].attn
    frame, rows, columns = config.rope_axes_dim
    free = config.num_attention_heads // 2
    for head, (begin, size) in enumerate(((frame, rows), (frame + rows, columns)), start=free):
        if head < config.num_attention_heads:
            pair = begin + 2 * round(size / 2 * math.log(SLOW) / -math.log(config.rope_theta))
            attention.to_q.bias.view(-1, config.attention_head_dim)[head, pair] = 2.0
            attention.add_k_proj.bias.view(-1, config.attention_head_dim)[head, pair + 1] = 2.0
            attention.add_k_proj.bias.view(-1, config.attention_head_dim)[head - free, begin] = 2.0


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
        model = trust_convolutions(MiniModel(recipe, base)).float()
        self.optimizer = Optimizer(model.to(device), model.matrices(), recipe.optimizer)
        self.model = model.bfloat16()
        if compiler:
            for block in self.model.transformer.blocks:
                block.compile(backend=compiler, dynamic=True, fullgraph=True)
        self.stream = ClipStream(encoder, device)
        self.begun = self.samples = 0

    def begin_with(self, start: Start) -> None:
        """Another training's weights, and its place in the recipe; the optimizer is new."""
        start.load_into(self.optimizer)
        self.begun, self.samples = start.step, start.samples

    def step(self, number: int) -> tuple[float, float]:
        """Train one batch; returns (loss, gradient norm). Processes agree on its section, not on its clips."""
        random = np.random.default_rng((self.recipe.seed, number))
        mine = self.replicas.random(self.recipe.seed, number, 1) if self.replicas.count > 1 else random
        noise = torch.Generator().manual_seed(int(mine.integers(2**62)))
        phase = self.recipe.phase(number)
        size = phase.sizes[random.integers(len(phase.sizes))]
        section = draw_section(random, phase.sections)
        count = self.replicas.share(round(phase.batch * min(1.0, USUAL_WINDOW / len(section.noisy))))
        batch = self.stream.batch(mine, phase.clips, self.pool.at(number), section, count, size)
        silent = random.random() < phase.flow.text_dropout
        prompts = ("",) * count if silent else batch.prompts
        features = self.model.towers(prompts, batch.images)
        if not silent:  # without a prompt the section before would move as it likes
            batch = with_own_history(self.model.transformer, features, batch, noise)
        loss = flow_loss(self.model.transformer, features, batch, phase.flow, noise)
        loss.backward()
        (mean,) = self.replicas.average(self.model.parameters(), loss.detach())
        norm = self.optimizer.step(self.recipe.schedule.rate(number, self.optimizer.step_count))
        self.samples += count * self.replicas.count
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
    on_vae: Callable[[VaeProgress], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_sample: Callable[[Sampled], None] = lambda _: None,
) -> int:
    """Train or continue the run in `folder` until the recipe's last step or for `seconds`; returns the steps done.

    The folder gets `vae/` first (see `training.vae`); where the time does not suffice for it, nothing else and no step
    is done. Then it gets `log.csv`, `curve.png`, `state/` and, after every call,
    `model/`: the model as it stands, a models folder; where the recipe asks for samples, also `samples/` and
    `samples.csv`. Started by torchrun, the processes show a share of each batch each. workers: processes that draw
    images. compiled: with torch.compile, for CUDA only. start: a models folder whose VAE and weights a new run begins
    with, at the step it had come to. Raises ValueError
    when the folder holds a run of another shape, for such a start, and for compiling on another device.
    """
    if compiled and torch.device(device).type != "cuda":
        raise ValueError(f"compiling needs a CUDA device, got {device}: leave it out")
    begin = None if start is None else read_start(start)
    if begin and begin.step >= recipe.schedule.steps:
        raise ValueError(
            f"the model in {start} has {begin.step} steps already and the recipe ends at {recipe.schedule.steps}: "
            "give it more steps"
        )
    together = replicas()
    device = together.device(device)
    with together.first():
        if not together.rank:
            _prepare(recipe, folder, begin)
    base = tokenizers_in(folder / "model")
    with ImagePool(recipe.pool, recipe.seed, workers) as pool:
        began = time.monotonic()
        vae = prepare_vae(recipe.vae, recipe.seed, folder / "vae", pool, device, seconds, on_vae, together)
        if vae is None:
            return 0
        seconds = None if seconds is None else seconds - (time.monotonic() - began)
        compiler = "inductor" if compiled else None
        trainer = Trainer(recipe, pool, BlockEncoder(vae), base, device, compiler=compiler, replicas=together)
        with together.first():
            if begin and not has_state(folder / "state"):
                trainer.begin_with(begin)
        if together.rank:
            return _run(trainer, folder, seconds)
        if recipe.samples.minutes:
            sampler = Sampler(recipe, folder, vae, device)
            number = _run(trainer, folder, seconds, on_progress, sampler, on_sample)
        else:
            number = _run(trainer, folder, seconds, on_progress)
            export_vae(folder / "model", vae)
    export_transformer(folder / "model", recipe, trainer.optimizer.averaged(), number, trainer.samples)
    return number


def _prepare(recipe: Recipe, folder: Path, begin: Start | None) -> None:
    """Put into a run's folder what it begins with; one process does. ValueError where another run lies there."""
    if begin is None and (folder / MARK).is_file() and not has_state(folder / "state"):
        raise ValueError(f"the training in {folder} was to begin with a model and has not taken a step: name it again")
    folder.mkdir(parents=True, exist_ok=True)
    if begin:
        begin.claim(folder)
    write_tokenizers(folder / "model")
    vae = fitted_beside(folder / "vae") if recipe.vae.further else folder / "vae"
    if begin and not vae.is_dir() and not (folder / "vae").is_dir():
        save_vae(begin.vae(), vae)


def _run(
    trainer: Trainer,
    folder: Path,
    seconds: float | None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    sampler: Sampler | None = None,
    on_sample: Callable[[Sampled], None] = lambda _: None,
) -> int:
    """Step, log, sample and save; returns the number of steps done since the run began."""
    state, log, schedule = folder / "state", folder / "log.csv", trainer.recipe.schedule
    together, number = trainer.replicas, trainer.begun
    with together.first():
        if has_state(state):
            number, trainer.samples = load_state(state, trainer.optimizer)
        if not together.rank:
            for path in (log, folder / "samples.csv"):
                cut_rows(path, number)
    began = saved = sampled = time.monotonic()
    for progress in _steps(trainer, number):
        number, now = progress.step, time.monotonic()
        ends = together.agree(number == schedule.steps or (seconds is not None and now - began > seconds))
        if together.rank:
            if ends:
                break
            continue
        append_row(log, asdict(progress))
        on_progress(progress)
        due = ends or now - sampled > 60 * trainer.recipe.samples.minutes
        if sampler and due:
            on_sample(sampler.sample(number, trainer.samples, trainer.optimizer.averaged()))
            sampled = time.monotonic()
        if ends or (sampler and due) or now - saved > 60 * schedule.checkpoint_minutes:
            save_state(state, trainer.optimizer, number, trainer.samples)
            draw_curve(read_log(log), folder / "curve.png", samples=read_log(folder / "samples.csv"))
            saved = time.monotonic()
        if ends:
            break
    return number


def _steps(trainer: Trainer, first: int) -> Iterator[Progress]:
    """Step from `first` on; one `Progress` every LOG_EVERY steps."""
    schedule = trainer.recipe.schedule
    for begin in range(first, schedule.steps, LOG_EVERY):
        clock = time.monotonic()
        end = min(begin + LOG_EVERY, schedule.steps)
        losses, norms = zip(*(trainer.step(number) for number in range(begin, end)), strict=True)
        yield Progress(
            step=end,
            samples=trainer.samples,
            loss=sum(losses) / len(losses),
            gradient=sum(norms) / len(norms),
            rate=schedule.rate(end - 1, trainer.optimizer.step_count - 1),
            seconds=time.monotonic() - clock,
        )
