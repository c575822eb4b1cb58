"""What a running generation says. A reader matches on the type and ends with `assert_never`.

Knows nothing about who listens: the CLI, the page and the HTTP API read the same events.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Stage = Literal["load", "encode", "plan", "prepare", "section", "decode", "finish"]


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
class SectionDone:
    """A section ended: `file` plays the `frames` that exist by now; None where the first ones are still to settle."""

    section: int
    sections: int
    frames: int
    seconds: float
    file: Path | None


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


Event = StageStarted | Notice | StepDone | SectionDone | Finished | Cancelled | Failed
