"""Test pictures that no training has seen, their prompts, and the true video of each motion.

Boundary: pictures and warps, no model. Photos are read from the scikit-image and scikit-learn packages where these are
installed; they serve as test pictures only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framepack.media.image import bucket_crop, load_image
from framepack.training.data.grammar import PHRASES, SPRITE_PHRASES
from framepack.training.data.images import draw_image
from framepack.training.data.motions import MOTIONS, SPRITE_MOTIONS, render, start_pictures, state_at
from framepack.training.data.sprites import Layer, draw_layer
from framepack.training.evaluate.metrics import Video, psnr

Picture = NDArray[np.uint8]

HELD_OUT = 0x48454C44
"""First number of the seeds of held-out pictures; training's begin with its recipe's seed."""
PHOTOS = {
    "skimage": (
        "data/astronaut.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/rocket.jpg",
        "data/motorcycle_left.png",
        "data/camera.png",
        "data/hubble_deep_field.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""Package and file of each photo."""


@dataclass(frozen=True)
class Scene:
    """One start picture, (H, W, 3) uint8, and its true videos."""

    name: str
    picture: Picture
    kind: str = "procedural"
    """or "photos", "cut-outs" """
    index: int = 0
    """Among the scenes of its kind."""
    backdrop: Picture | None = None
    """The picture without its cut-out, where it has one that can move."""
    cut_out: Layer | None = None

    def truth(self, motion: str, frames: int) -> Video:
        """The picture moved as a prompt says, at normal speed: (frames, H, W, 3), the first one the picture."""
        key = (motion, frames)
        if key not in self._truths:
            if self.backdrop is not None and motion in SPRITE_MOTIONS:
                self._truths[key] = true_video(self.backdrop, motion, frames, self.cut_out)
            else:
                self._truths[key] = true_video(self.picture, motion, frames)
        return self._truths[key]

    def still(self, frames: int) -> Video:
        """The picture, not moving."""
        return np.repeat(self.picture[None], frames, axis=0)

    def clear_cache(self) -> None:
        """Free the true videos."""
        self._truths.clear()

    @cached_property
    def _truths(self) -> dict[tuple[str, int], Video]:
        return {}


def true_video(picture: Picture, motion: str, frames: int, cut_out: Layer | None = None) -> Video:
    """`picture` moved by `motion` (a key of MOTIONS or SPRITE_MOTIONS) at normal speed, (frames, H, W, 3) uint8."""
    return true_frames(picture, motion, torch.arange(frames), cut_out=cut_out)


def true_frames(
    picture: Picture, motion: str, at: torch.Tensor, factor: float = 1.0, cut_out: Layer | None = None
) -> Video:
    """`picture` moved by `factor` times a motion's normal speed, at these frames: (len(at), H, W, 3) uint8."""
    return true_mix(picture, (MOTIONS | SPRITE_MOTIONS)[motion].row() * factor, at, cut_out)


def true_mix(picture: Picture, rates: torch.Tensor, at: torch.Tensor, cut_out: Layer | None = None) -> Video:
    """The same of any rates, (columns,): a sum of motions."""
    state = state_at(at, rates[None], rates[None], torch.zeros(1))
    return _frames(render(_tensor(picture), state, cut_out)[0].permute(1, 2, 3, 0))


def nearest_motion(video: Video, scene: Scene, motions: Sequence[str] = tuple(MOTIONS)) -> str:
    """Of `motions` the one whose true video is nearest by PSNR, the start frame left out."""
    frames = len(video)
    return max(motions, key=lambda motion: psnr(video[1:], scene.truth(motion, frames)[1:]))


def _tensor(picture: Picture) -> torch.Tensor:
    """(1, 3, H, W) in -1..1."""
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


def _frames(levels: torch.Tensor) -> Video:
    return (levels * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def prompt_for(motion: str, index: int) -> str:
    """One of the motion's phrasings, another one for each index."""
    phrases = (PHRASES | SPRITE_PHRASES)[motion]
    return phrases[index % len(phrases)]


def procedural_scenes(count: int, size: tuple[int, int]) -> list[Scene]:
    """Held-out procedural pictures of `size` = (width, height)."""
    drawn = [draw_image(np.random.default_rng((HELD_OUT, i)), 2 * max(size)) for i in range(count)]
    return [Scene(f"procedural {i}", bucket_crop(image, *size), index=i) for i, image in enumerate(drawn)]


def sprite_scenes(count: int, size: tuple[int, int]) -> list[Scene]:
    """Held-out procedural pictures, each with a cut-out near its middle that can move."""
    scenes = []
    for i, plain in enumerate(procedural_scenes(count, size)):
        random = np.random.default_rng((HELD_OUT, i, 1))
        image = _tensor(plain.picture)
        layer = draw_layer(random, [draw_image(random, 2 * max(size))], image, [0], [(0.0, 0.0)])
        picture = _frames(start_pictures(image, layer)[0].permute(1, 2, 0))
        scene = Scene(f"cut-out {i}", picture, "cut-outs", i, backdrop=plain.picture, cut_out=layer)
        scenes.append(scene)
    return scenes


def photo_scenes(count: int, size: tuple[int, int]) -> list[Scene]:
    """Up to `count` photos cropped to `size` = (width, height); fewer, or none, where the packages are missing."""
    files = photo_files()[:count]
    return [Scene(file.stem, bucket_crop(load_image(file), *size), "photos", i) for i, file in enumerate(files)]


def photo_files() -> list[Path]:
    """The photos on this machine, alternating between the packages."""
    found = []
    for package, names in PHOTOS.items():
        spec = find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else None
        found += [(i, folder / name) for i, name in enumerate(names) if folder and (folder / name).is_file()]
    return [file for _, file in sorted(found, key=lambda entry: entry[0])]
