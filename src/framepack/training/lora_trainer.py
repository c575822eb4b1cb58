"""Trains a LoRA on cached clips, through the memory manager, with gradient checkpointing; resumes to the bit.

A run is a folder: `lora.safetensors` (what `--lora` loads), `loss.csv`, `state.safetensors` (to go on from) and sample
videos. Steps are drawn by number, so a run in pieces is the run in one go. The once-a-job modules, a quarter of a 13 B
model, are on the device only while the conditions of the next CHAPTER steps are computed; they are not trained.
Flow matching on the velocity, as the models were trained (arXiv 2403.03206); LoRA, arXiv 2106.09685.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from framepack.media.atomic import atomic_write
from framepack.models.conditioning import StepCondition
from framepack.models.transformer import HunyuanVideoTransformer3DModelPacked
from framepack.pipeline.conditioning import NOISE_SCALE
from framepack.pipeline.framepack import FramePack
from framepack.sampling.schedule import mu_of
from framepack.training.lora_adapter import inject, save_lora
from framepack.training.lora_cache import Clip
from framepack.training.lora_examples import Example, example, sections_of
from framepack.training.loss import FlowRecipe, draw_sigmas

CHAPTER = 20
"""Steps whose conditions are computed together; the log has a line for each chapter."""


@dataclass(frozen=True, kw_only=True)
class LoraRecipe:
    """Everything that decides a training, beside the clips."""

    rank: int = 16
    alpha: float = 16.0
    rate: float = 2e-4
    """Learning rate of AdamW after the warm-up."""
    warm_up: int = 20
    steps: int = 1000
    window: int = 9
    guidance: float = 10.0
    """The distilled guidance that videos will be made with."""
    clip: float = 1.0
    """Largest norm of all gradients together."""
    save_every: int = 100
    seed: int = 31337

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be trained."""
        for name, low, high in (("rank", 1, 1024), ("steps", 1, 10**7), ("window", 1, 33), ("save_every", 1, 10**7)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low}..{high}, got {getattr(self, name)}")
        for name in ("alpha", "rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class LoraProgress:
    """One line of the log: means over the steps since the last one."""

    step: int
    loss: float
    gradient: float
    seconds: float
    """A step."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What one step shows: an example, a noise level, noise of its own."""

    example: Example
    tensors: dict[str, Tensor]
    sigma: Tensor
    """(1,)"""
    noise: Tensor


class LoraTrainer:
    """Adapters, their optimizer, and the clips. Adapters enter the transformer that `framepack`'s memory lends."""

    def __init__(self, framepack: FramePack, clips: Sequence[Clip], recipe: LoraRecipe) -> None:
        """ValueError where the transformer does not fit on the device whole, which a backward pass needs."""
        if not clips:
            raise ValueError("there is nothing to train on: no clips")
        self.framepack, self.clips, self.recipe = framepack, clips, recipe
        with self.lent() as transformer:
            self.transformer = transformer
            self.adapters = inject(transformer, recipe.rank, recipe.alpha, recipe.seed)
            transformer.execution = replace(transformer.execution, checkpointing=True)
        self.optimizer = torch.optim.AdamW(self.adapters.values(), lr=recipe.rate, weight_decay=0.0)
        self.step_count = 0

    def lent(self):  # noqa: ANN201  (a context manager of the transformer)
        """The transformer, whole, on the device."""
        return self.framepack.memory.lease("transformer")

    def draw(self, number: int) -> Draw:
        """What step `number` shows: the same on every run."""
        random = np.random.default_rng((self.recipe.seed, number))
        noise = torch.Generator().manual_seed(int(random.integers(2**62)))
        clip = self.clips[int(random.integers(len(self.clips)))]
        tensors = clip.load()
        sections = sections_of(self.framepack.model, tensors["latents"].shape[2], self.recipe.window)
        shown = example(sections, int(random.integers(len(sections))), tensors["latents"])
        frames, height, width = shown.clean.shape[2:]
        shift = math.exp(mu_of(frames * (height // 2) * (width // 2)))
        return Draw(
            example=shown,
            tensors=tensors,
            sigma=draw_sigmas(1, FlowRecipe(shift=shift), noise),
            noise=torch.randn(shown.clean.shape, generator=noise),
        )

    @torch.no_grad()
    def conditions(self, draws: Sequence[Draw]) -> list[StepCondition]:
        """What the blocks need to know of each step's noise level, caption and picture."""
        device, made = self.framepack.memory.device, []
        guidance = torch.tensor([self.recipe.guidance * NOISE_SCALE], device=device)
        with self.framepack.memory.lease("transformer", once=True) as transformer:
            for draw in draws:
                image = draw.tensors["image"] * float(draw.example.sees_image)
                parts = (draw.tensors["pooled"].to(device), draw.tensors["text"].to(device))
                steps = (NOISE_SCALE * draw.sigma).to(device)
                made.append(transformer.condition(steps, guidance, *parts, None, image.to(device)).step(0))
        return made

    def loss(self, transformer: HunyuanVideoTransformer3DModelPacked, draw: Draw, condition: StepCondition) -> Tensor:
        """Mean squared error of the velocity."""
        device = self.framepack.memory.device
        clean, noise = draw.example.clean.to(device), draw.noise.to(device)
        frames, height, width = clean.shape[2:]
        packed = transformer.pack(draw.example.context, draw.example.at, (frames, height, width))
        noisy = clean + draw.sigma.to(device) * (noise - clean)
        return (transformer(noisy, condition, packed) - (noise - clean)).square().mean()

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
        recipe, notes = self.recipe, {"framepack": json.dumps(asdict(self.recipe)), "model": self.framepack.model}
        save_lora(folder / "lora.safetensors", self.adapters, recipe.rank, recipe.alpha, notes)
        tensors = {f"adapter/{name}": value.detach() for name, value in self.adapters.items()}
        for (name, parameter), kind in ((pair, kind) for pair in self.adapters.items() for kind in MOMENTS):
            if parameter in self.optimizer.state:
                tensors[f"{kind}/{name}"] = self.optimizer.state[parameter][kind]
        with atomic_write(folder / "state.safetensors") as temporary:
            save_file(
                {n: t.cpu().contiguous() for n, t in tensors.items()},
                temporary,
                metadata={"step": str(self.step_count), **notes},
            )

    def resume(self, folder: Path) -> int:
        """Go on from what `folder` holds; returns the steps done, 0 where there is nothing.

        ValueError where it is another training's: the rank, the model, or anything but the number of steps differs.
        """
        file = folder / "state.safetensors"
        if not file.is_file():
            return 0
        try:
            with safe_open(file, framework="pt") as header:
                notes = header.metadata() or {}
            tensors = load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged ({error}); delete it to begin anew") from None
        theirs, mine = json.loads(notes["framepack"]), asdict(self.recipe)
        differing = [name for name in mine if name not in ("steps", "save_every") and mine[name] != theirs.get(name)]
        if differing or notes["model"] != self.framepack.model:
            what = ", ".join(differing) or "model"
            raise ValueError(f"{folder} holds another training (its {what} differ); choose another --output")
        self._restore(tensors, int(notes["step"]))
        return self.step_count

    @torch.no_grad()
    def _restore(self, tensors: dict[str, Tensor], step: int) -> None:
        for name, parameter in self.adapters.items():
            parameter.copy_(tensors[f"adapter/{name}"])
            moments = {kind: tensors[f"{kind}/{name}"].to(parameter.device) for kind in MOMENTS}
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        self.step_count = step


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
            "use a lower --resolution, fewer --sections, or a device with more memory"
        )


def train_lora(
    trainer: LoraTrainer, folder: Path, *, on_progress: Callable[[LoraProgress], None] = lambda _: None
) -> Iterator[int]:
    """Train to the recipe's last step, going on from what `folder` holds; yields the step at each save."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = trainer.recipe
    done = trainer.resume(folder)
    while done < recipe.steps:
        border = (done // recipe.save_every + 1) * recipe.save_every
        end = min(done + CHAPTER - done % CHAPTER, border, recipe.steps)
        progress = trainer.chapter(range(done, end))
        _log(folder / "loss.csv", progress)
        on_progress(progress)
        done = end
        if done in (border, recipe.steps):
            trainer.save(folder)
            yield done


def _log(file: Path, progress: LoraProgress) -> None:
    row = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in asdict(progress).items()}
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
