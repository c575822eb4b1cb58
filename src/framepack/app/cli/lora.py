"""`framepack train lora` in the terminal: caches, trains, saves, makes sample videos. Ctrl-C keeps the last save."""

import gc
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from framepack.app.settings import Settings
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.load import load
from framepack.spec.events import Finished
from framepack.spec.output import OutputSettings
from framepack.spec.parts import Lora
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS
from framepack.training.lora.cache import Clip, cache_clips
from framepack.training.lora.data import find_items
from framepack.training.lora.trainer import LoraProgress, LoraRecipe, LoraTrainer, identity_of, train_lora
from framepack.training.replicas import world_size

SAMPLE_STEPS = 12


def lora_command(
    model: str,
    data: Path,
    folder: Path,
    recipe: LoraRecipe,
    *,
    sample_every: int,
    device: str,
    dtype: str,
    models_dir: Path | None,
) -> None:
    """Train, showing the loss as it falls; `folder` holds lora.safetensors afterwards."""
    if world_size() > 1:
        raise ValueError("a LoRA is trained by one process: start it without torchrun")
    console = Console(stderr=True)
    items = find_items(data)
    models_dir = models_dir or Settings.from_environment().models_dir
    framepack = load(model, models_dir=models_dir, dtype=dtype, device=device)
    base = recipe.resolution or VARIANTS[model].bucket_base
    shown = ((item.source, item.caption) for item in items)
    identity_of(framepack, recipe, shown).check(folder)  # before what may take hours
    with console.status(f"encoding {len(items)} files") as status:
        clips = cache_clips(
            framepack,
            items,
            folder / "cache",
            base=base,
            window=recipe.window,
            sections=recipe.sections,
            on_item=lambda item, count: status.update(f"encoded {item.file.name}: {count} clip{'s' * (count != 1)}"),
            on_notice=lambda notice: console.print(notice, style="yellow", markup=False, soft_wrap=True),
        )
    console.print(f"{len(items)} files, {len(clips)} clips", highlight=False)
    trainer = LoraTrainer(framepack, clips, recipe)
    try:
        _train(trainer, folder, sample_every, console)
    except KeyboardInterrupt:
        console.print(
            f"[yellow]stopped[/]; the same command goes on from the last save in {escape(str(folder))}", soft_wrap=True
        )
        raise
    del trainer  # it holds the weights that were trained on, and the model is about to be loaded again
    gc.collect()
    framepack.reload_transformer()
    lora = Lora(file=folder / "lora.safetensors")
    video = sample(framepack, clips[0], recipe, folder / "sample.mp4", (lora,))
    shown = escape(f"a sample is {video}. Use it with: --lora {lora.file}:1")
    console.print(f"[green]done[/]; {shown}", soft_wrap=True)
    print(lora.file)


def _train(trainer: LoraTrainer, folder: Path, sample_every: int, console: Console) -> None:
    """Run the steps with a bar; a sample every so many of them, of what the LoRA saved there does."""
    recipe, lora = trainer.recipe, Lora(file=folder / "lora.safetensors")
    if sample_every and not lora.file.exists():
        video = sample(trainer.framepack, trainer.clips[0], recipe, folder / "sample-000000.mp4")
        console.print(f"before: {video}", highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=recipe.steps)

        def show(line: LoraProgress) -> None:
            text = f"loss {line.loss:.4f}, {line.seconds:.2f} s a step"
            progress.update(task, completed=line.step, description=text)

        for step in train_lora(trainer, folder, pause_every=sample_every, on_progress=show):
            if sample_every and step % sample_every == 0 and step < recipe.steps:
                trainer.framepack.holds_loras((lora,))
                video = sample(trainer.framepack, trainer.clips[0], recipe, folder / f"sample-{step:06d}.mp4", (lora,))
                trainer.framepack.memory.free()
                console.print(f"step {step}: {video}", highlight=False, markup=False, soft_wrap=True)


def sample(framepack: FramePack, clip: Clip, recipe: LoraRecipe, file: Path, loras: tuple[Lora, ...] = ()) -> Path:
    """One section from a clip's first frame and caption."""
    width, height = clip.size
    request = GenerationRequest(
        image=Picture(file=clip.start),
        prompt=clip.caption,
        model=framepack.model,
        seconds=0.1,
        length="sections",
        steps=SAMPLE_STEPS,
        guidance=recipe.guidance,
        window=recipe.window,
        width=width,
        height=height,
        seed=recipe.seed,
        loras=loras,
        output=OutputSettings(path=file, live=False, overwrite=True),
    )
    *_, last = framepack.generate(request)
    assert isinstance(last, Finished)
    return last.file
