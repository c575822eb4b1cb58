"""What several parts of an evaluation share. Boundary: requests videos and compares them; writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framepack.training.data.motions import MOTIONS
from framepack.training.evaluate.metrics import Video, psnr, sharpness_ratio, ssim
from framepack.training.evaluate.results import Generate, PromptResult, Reconstruct, Settings, SheetRow, VideoRequest
from framepack.training.evaluate.scenes import Scene, nearest_motion, prompt_for


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """What every part of an evaluation needs."""

    settings: Settings
    generate: Generate
    reconstruct: Reconstruct
    samples: list[SheetRow]
    """Rows of contact sheets, which each part adds to."""

    def request(self, model: str, scene: Scene, motion: str, number: int, **options: Any) -> VideoRequest:
        """A video of `motion`, the prompt with this number for the scene: each has a seed of its own."""
        seed = self.settings.seed + 1000 * scene.index + number
        prompt = prompt_for(motion, scene.index)
        return VideoRequest(**{"model": model, "picture": scene.picture, "prompt": prompt, "seed": seed} | options)


def motion_fields(
    request: VideoRequest, video: Video, scene: Scene, motion: str, motions: Sequence[str] = tuple(MOTIONS)
) -> dict[str, Any]:
    """The fields of a `MotionResult`; the nearest motion is one of `motions`."""
    return {
        "model": request.model,
        "kind": scene.kind,
        "scene": scene.name,
        "motion": motion,
        "nearest": nearest_motion(video, scene, motions),
        "psnr": psnr(video[1:], scene.truth(motion, len(video))[1:]),
    }


def prompt_result(
    request: VideoRequest, video: Video, scene: Scene, motion: str, motions: Sequence[str] = tuple(MOTIONS)
) -> PromptResult:
    """How well a video follows its prompt for `motion`, one of `motions`."""
    truth = scene.truth(motion, len(video))
    return PromptResult(
        **motion_fields(request, video, scene, motion, motions),
        prompt=request.prompt,
        ssim=ssim(video[1:], truth[1:]),
        still_psnr=psnr(scene.still(len(video))[1:], truth[1:]),
        sharpness=sharpness_ratio(video, truth),
    )


def sheet_row(sheet: str, title: str, video: Video, scene: Scene, motion: str, nearest: str) -> SheetRow:
    """The start, half way, the end and the true end, which says what the video looks like if not its prompt."""
    frames = (scene.picture, video[len(video) // 2], video[-1], scene.truth(motion, len(video))[-1])
    labels = (title, "half way", "end" if nearest == motion else f"as {nearest}", "true end")
    return SheetRow(sheet=sheet, frames=frames, labels=labels)
