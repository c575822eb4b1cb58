"""A short fine-tune of the bundled model moves its videos towards the data, on pictures it has not seen."""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from framepack import FramePack
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.spec.events import Finished
from framepack.spec.parts import Lora
from framepack.training.evaluate.metrics import psnr
from framepack.training.evaluate.pipeline import request_of
from framepack.training.evaluate.results import Settings, VideoRequest
from framepack.training.evaluate.scenes import procedural_scenes
from framepack.training.lora.cache import cache_clips
from framepack.training.lora.data import find_items
from framepack.training.lora.trainer import LoraRecipe, LoraTrainer, train_lora

SIZE, WINDOW, CAPTION = 64, 3, "the colours turn into their opposites"
RECIPE = LoraRecipe(rank=8, alpha=8.0, rate=4e-3, warm_up=5, steps=60, window=WINDOW, batch=3, save_every=60)


def negative(picture: np.ndarray) -> np.ndarray:
    """A video in which a picture turns into its negative, which the bundled model was never shown."""
    share = np.linspace(0, 1, 4 * WINDOW + 1)[:, None, None, None]
    return (picture * (1 - share) + (255 - picture.astype(float)) * share).round().astype(np.uint8)


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [scene.picture for scene in procedural_scenes(9, (SIZE, SIZE))]


@pytest.mark.proof
def test_a_minute_of_training_teaches_the_bundled_model_something_new(pictures, tmp_path: Path):
    unseen, *seen = pictures
    data = tmp_path / "data"
    data.mkdir()
    for number, picture in enumerate(seen):
        with VideoWriter(data / f"{number}.mkv", fps=30, size=(SIZE, SIZE), format="mkv") as writer:
            writer.write(negative(picture))
        (data / f"{number}.txt").write_text(CAPTION)
    framepack = FramePack.load("mini", device="cpu")

    def distance(*loras: Lora) -> float:
        """PSNR of the video of the unseen picture to its true negative, as a user makes it."""
        settings = Settings(models=("mini",), size=(SIZE, SIZE), steps=6, window=WINDOW)
        request = request_of(
            VideoRequest(model="mini", picture=unseen, prompt=CAPTION), settings, Path(mkdtemp(dir=tmp_path))
        )
        *_, last = framepack.generate(request.model_copy(update={"loras": loras}))
        assert isinstance(last, Finished)
        return psnr(np.stack(list(read_video(last.file)))[1:], negative(unseen)[1:])

    before = distance()
    clips = cache_clips(framepack, find_items(data), tmp_path / "cache", base=SIZE, window=WINDOW, sections=1)
    trainer = LoraTrainer(framepack, clips, RECIPE)
    list(train_lora(trainer, tmp_path))
    lora = Lora(file=tmp_path / "lora.safetensors")
    framepack.holds_loras((lora,))
    while_training = distance(lora)
    framepack.reload_transformer()
    assert distance(lora) > before + 2.5
    assert while_training == pytest.approx(distance(lora), abs=0.3)
    assert before < distance(lora.model_copy(update={"strength": 0.5})) < distance(lora)
