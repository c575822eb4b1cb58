"""Trains a LoRA on cached clips, through the memory manager, with gradient checkpointing; resumes to the bit.

A run is a folder: `lora.safetensors` (what `--lora` loads), `loss.csv` and `loss.png`, `state.safetensors` (to go on
from) and sample videos. Steps are drawn by number, so a run in pieces is the run in one go. The once-a-job modules, a
quarter of a 13 B model, are on the device only while the conditions of the next CHAPTER steps are computed; they are
not trained.
Flow matching on the velocity, as the models were trained (arXiv 2403.03206); LoRA, arXiv 2106.09685.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from framepack.models.conditioning import StepCondition
from framepack.models.hunyuan.blocks import Execution
from framepack.models.hunyuan.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.pipeline.conditioning import NOISE_SCALE
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.sealed_tensors import read_tensors, write_tensors
from framepack.training.lora.adapter import inject, save_lora
from framepack.training.lora.base import BASES, use_base
from framepack.training.lora.cache import Clip, empty_caption
from framepack.training.lora.draws import Draw, Drawer, joined
from framepack.training.lora.run import STATE, Identity
from framepack.training.run_log import append_row, plot_log, read_log, truncate_log

CHAPTER = 20
"""Steps whose conditions are computed together; the log has a line for each chapter."""


@dataclass(frozen=True, kw_only=True)
class LoraRecipe:
    """Everything that decides a training, beside the files it learns from."""

    rank: int = 16
    alpha: float = 16.0
    rate: float = 2e-4
    """Learning rate of AdamW after the warm-up."""
    warm_up: int = 20
    steps: int = 1000
    window: int = 9
    resolution: int | None = None
    """Side of the square whose area the clips get; None is the model's own."""
    sections: int = 3
    """Longest clip, in windows."""
    guidance: float = 10.0
    """The distilled guidance that videos will be made with."""
    clip: float = 1.0
    """Largest norm of all gradients together."""
    save_every: int = 100
    seed: int = 31337
    batch: int = 1
    """Clips of one size that a step shows; fewer where there are no more of that size."""
    caption_dropout: float = 0.1
    """Share of captions left out, so that the LoRA also works with prompts unlike them."""
    base: str = "whole"
    """How the frozen weights are kept, a key of BASES."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be trained."""
        counts = {"rank": 1024, "steps": 10**7, "window": 33, "sections": 1000, "save_every": 10**7, "batch": 1024}
        for name, most in counts.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1..{most}, got {getattr(self, name)}")
        for name in ("alpha", "rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.caption_dropout < 1:
            raise ValueError(f"caption_dropout must be 0 or more and below 1, got {self.caption_dropout}")
        if self.base not in BASES:
            raise ValueError(f"base must be one of {', '.join(BASES)}, got {self.base!r}")


@dataclass(frozen=True, kw_only=True)
class LoraProgress:
    """One line of the log: means over the steps since the last one."""

    step: int
    loss: float
    gradient: float
    seconds: float
    """A step."""


class LoraTrainer:
    """Adapters, their optimizer, and the clips. Adapters enter the transformer that `framepack`'s memory lends."""

    def __init__(self, framepack: FramePack, clips: Sequence[Clip], recipe: LoraRecipe) -> None:
        """ValueError where the transformer does not fit on the device whole, which a backward pass needs."""
        if not clips:
            raise ValueError("there is nothing to train on: no clips")
        self.framepack, self.clips, self.recipe = framepack, clips, recipe
        self.identity = identity_of(framepack, recipe, ((clip.source, clip.caption) for clip in clips))
        drop = recipe.caption_dropout
        self.drawer = Drawer(
            framepack.model,
            clips,
            seed=recipe.seed,
            window=recipe.window,
            batch=recipe.batch,
            empty=empty_caption(framepack, clips[0].file.parent) if drop else None,
            drop=drop,
        )
        use_base(framepack, recipe.base)
        with self.lent() as transformer:
            check_whole(framepack, transformer, transformer)
            self.transformer = transformer
            self.adapters = inject(transformer, recipe.rank, recipe.alpha, recipe.seed)
            for parameter in self.adapters.values():
                parameter.data = parameter.data.to(framepack.memory.device)
        self.execution = Execution(attention=framepack.loader.attention, checkpointing=True)
        self.optimizer = torch.optim.AdamW(self.adapters.values(), lr=recipe.rate, weight_decay=0.0)
        self.step_count = 0

    def lent(self):  # noqa: ANN201  (a context manager of the transformer)
        """The transformer, whole, on the device."""
        return self.framepack.memory.lease("transformer")

    def draw(self, number: int) -> Draw:
        """What step `number` shows: the same on every run."""
        return self.drawer.draw(number)

    @torch.no_grad()
    def conditions(self, draws: Sequence[Draw]) -> list[StepCondition]:
        """What the blocks need to know of each step's noise levels, captions and pictures."""
        device, made = self.framepack.memory.device, []
        guidance = torch.tensor([self.recipe.guidance * NOISE_SCALE], device=device)
        with self.framepack.memory.lease("transformer", once=True) as transformer:
            for draw in draws:
                parts = []
                for sigma, caption, image in zip(draw.sigma, draw.captions, draw.images, strict=True):
                    words = (caption["pooled"].to(device), caption["text"].to(device))
                    steps = (NOISE_SCALE * sigma[None]).to(device)
                    parts.append(transformer.condition(steps, guidance, *words, None, image.to(device)).step(0))
                made.append(joined(parts))
        return made

    def loss(self, transformer: HunyuanVideoTransformer3DModelPacked, draw: Draw, condition: StepCondition) -> Tensor:
        """Mean squared error of the velocity."""
        device = self.framepack.memory.device
        clean, noise = draw.example.clean.to(device), draw.noise.to(device)
        frames, height, width = clean.shape[2:]
        packed = transformer.pack(draw.example.context, draw.example.at, (frames, height, width))
        noisy = clean + draw.sigma.to(device)[:, None, None, None, None] * (noise - clean)
        return (transformer(noisy, condition, packed, execution=self.execution) - (noise - clean)).square().mean()

    def chapter(self, numbers: range) -> LoraProgress:
        """Train the steps `numbers`; means over them."""
        began = time.monotonic()
        draws = [self.draw(number) for number in numbers]
        conditions = self.conditions(draws)
        losses, norms = [], []
        with self.lent() as transformer:
            check_whole(self.framepack, transformer, self.transformer)
            for draw, condition in zip(draws, conditions, strict=True):
                loss = self.loss(transformer, draw, condition)
                loss.backward()
                norms.append(self.update())
                losses.append(float(loss.detach()))
        seconds = (time.monotonic() - began) / len(numbers)
        mean_loss, mean_norm = (sum(values) / len(values) for values in (losses, norms))
        return LoraProgress(step=self.step_count, loss=mean_loss, gradient=mean_norm, seconds=seconds)

    def update(self) -> float:
        """One step of the optimizer; the gradients' norm before clipping."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.adapters.values(), self.recipe.clip))
        if not math.isfinite(norm):
            raise ValueError(f"the gradient is not finite at step {self.step_count}: use a lower --rate")
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * min(1.0, (self.step_count + 1) / self.recipe.warm_up)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step_count += 1
        return norm

    def save(self, folder: Path) -> None:
        """Write the LoRA and all that a later run needs to go on."""
        recipe, notes = self.recipe, self.identity.notes()
        save_lora(folder / "lora.safetensors", self.adapters, recipe.rank, recipe.alpha, notes)
        tensors = {f"adapter/{name}": value.detach() for name, value in self.adapters.items()}
        for (name, parameter), kind in ((pair, kind) for pair in self.adapters.items() for kind in MOMENTS):
            if parameter in self.optimizer.state:
                tensors[f"{kind}/{name}"] = self.optimizer.state[parameter][kind]
        write_tensors(folder / STATE, tensors, {"step": str(self.step_count), **notes})

    def resume(self, folder: Path) -> int:
        """Go on from what `folder` holds; returns the steps done, 0 where there is nothing.

        ValueError where it is another training's: anything differs but the number of steps and the learning rate.
        """
        done = self.identity.check(folder)
        if done:
            self._restore(read_tensors(folder / STATE, older=True)[0], done)
        return done

    @torch.no_grad()
    def _restore(self, tensors: dict[str, Tensor], step: int) -> None:
        for name, parameter in self.adapters.items():
            parameter.copy_(tensors[f"adapter/{name}"])
            moments = {kind: tensors[f"{kind}/{name}"].to(parameter.device) for kind in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        self.step_count = step


def identity_of(framepack: FramePack, recipe: LoraRecipe, clips: Iterable[tuple[str, str]]) -> Identity:
    """What a training is that shows these (source, caption) to the model."""
    return Identity.of(recipe, framepack.model, clips, framepack.loader.places.values())


MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's memory of each adapter."""


def check_whole(framepack: FramePack, lent: nn.Module, adapted: nn.Module) -> None:
    """ValueError where the transformer that is lent cannot be trained.

    Streamed blocks' weights would be gone before the backward pass reads them; one that was forgotten to make room and
    loaded anew has no adapters.
    """
    report = framepack.memory.report()
    if lent is not adapted:
        raise ValueError("the transformer had to make room and was loaded anew: training needs more RAM")
    if report.modules["transformer"].streamed:
        raise ValueError(
            f"training needs the whole transformer on {report.device}, and it does not fit beside the activations: "
            "use --base int8 or --base int8-offloaded, a lower --resolution, or a device with more memory"
        )


def train_lora(
    trainer: LoraTrainer,
    folder: Path,
    *,
    pause_every: int = 0,
    on_progress: Callable[[LoraProgress], None] = lambda _: None,
) -> Iterator[int]:
    """Train to the recipe's last step, going on from what `folder` holds; yields the step at each save.

    pause_every: save at these steps too, to make samples of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = trainer.recipe
    done = trainer.resume(folder)
    truncate_log(folder / "loss.csv", done)
    while done < recipe.steps:
        border = min((done // every + 1) * every for every in (recipe.save_every, pause_every) if every)
        end = min(done + CHAPTER - done % CHAPTER, border, recipe.steps)
        progress = trainer.chapter(range(done, end))
        append_row(folder / "loss.csv", asdict(progress))
        on_progress(progress)
        done = end
        if done in (border, recipe.steps):
            trainer.save(folder)
            plot_log(read_log(folder / "loss.csv"), folder / "loss.png", axis="step")
            yield done
