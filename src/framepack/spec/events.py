"""What a running generation says. A reader matches on the type and ends with `assert_never`.

Knows nothing about who listens: the CLI, the page and the HTTP API read the same events.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Stage = Literal["load", "encode", "plan", "prepare", "section", "decode", "finish"]


Part = Literal["text", "image", "encode", "source", "prepare", "stills", "sample", "decode", "upscale"]
Placement = Literal["resident", "offloaded", "streamed"]
VaeMode = Literal["whole", "chunked", "tiled"]
"""How the VAE works: on the whole picture; a few rows of pixels at a time, exact with less memory; in spatial tiles,
which leave faint seams."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """What one kind of work is foreseen to take. Sizes in bytes, time in seconds."""

    part: Part
    title: str
    """For a person: `text encoders`, `sampling` ..."""
    placement: Placement
    """Of the weights: on the device for the whole job, on the device while they are used, or block by block."""
    where: str
    """The same in words, with the number of blocks."""
    from_disk: bool
    """Weights are read from their files each time, as RAM does not hold them."""
    chunk_size: int | None
    """Tokens at a time in the transformer's blocks; None where that does not apply, or all at once."""
    mode: VaeMode | None
    """Of the VAE."""
    weights: int
    """On the device during the work, all modules together."""
    activations: int
    """What the work makes and keeps beside them, at most."""
    peak: int
    """On the device, at most."""
    host: int
    """RAM of the whole process, at most; on a CPU that is all there is."""
    passes: int
    copied: int
    """Weights brought to the device, all passes together."""
    seconds: float | None
    """None where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Before a job's first work: how it will be done, and what it is foreseen to take."""

    device: str
    capacity: int
    """Bytes of the device that the job may use."""
    stages: tuple[PlannedStage, ...]
    peak: int
    host: int
    seconds: float | None
    """None where any stage's is not known."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage began; `section` counts from 0 where the stage belongs to one."""

    stage: Stage
    message: str
    section: int | None = None


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the user should know that stops nothing, such as a prompt that was cut."""

    message: str


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One denoising step ended. `preview` is the expected clean window, uint8 (T, h, w, 3) at latent size."""

    section: int
    sections: int
    step: int
    steps: int
    preview: "np.ndarray | None" = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a section looks like, by which one sees a video drift. Levels of 0..255, means over its frames."""

    colour: tuple[float, float, float]
    """Mean red, green and blue."""
    contrast: float
    """Standard deviation of the brightness."""
    sharpness: float
    """Mean length of the brightness's gradient."""
    distance: float | None
    """To the start picture: root mean square difference of the colours of blocks of 16 pixels; None without one."""


@dataclass(frozen=True, kw_only=True)
class SectionDone:
    """A section ended: `file` plays the `frames` that exist by now; None where the first ones are still to settle.

    `seconds` it took; 0 for the last of those that an earlier run of the job made. `look`: what it looks like; None
    where an earlier version made it.
    """

    section: int
    sections: int
    frames: int
    seconds: float
    file: Path | None
    look: Look | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The video is complete. `frames` at the output's rate, `seconds` spent on it."""

    file: Path
    frames: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """Stopped on request; `file` plays what was finished, None when nothing was."""

    file: Path | None
    frames: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Ended by an error: one sentence for the user, the traceback for the log."""

    message: str
    traceback: str


Event = Planned | StageStarted | Notice | StepDone | SectionDone | Finished | Cancelled | Failed
