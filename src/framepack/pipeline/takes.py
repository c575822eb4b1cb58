"""Takes of a video: which file holds each section, and what was made anew.

The first take is what a request says. Another one begins at a section that is made anew from other noise; the sections
made before it are the parent's files, those after it are made again, as they see it. No tensors.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from framepack.pipeline.seal import read_json
from framepack.spec.plan import Noise, SectionPlan

FILE = re.compile(r"take-(\d{3,})\.json")


@dataclass(frozen=True, kw_only=True)
class Take:
    """One of them; the first has no file of its own."""

    number: int = 1
    parent: int | None = None
    redone: dict[int, int] = field(default_factory=dict)
    """The seed of each section that was made anew, by its index."""
    files: dict[int, int] = field(default_factory=dict)
    """The take whose file holds a section, for those that this one takes over."""

    @property
    def name(self) -> str:
        """Of its file."""
        return f"take-{self.number:03d}.json"

    def stem(self, index: int) -> str:
        """What the files of section `index` begin with."""
        made_in = self.files.get(index, self.number)
        return f"section-{index:04d}" if made_in == 1 else f"section-{index:04d}-take-{made_in:03d}"

    def files_before(self, index: int) -> dict[int, int]:
        """Where another take that begins at section `index` finds those made before it."""
        return {before: self.files.get(before, self.number) for before in range(index)}

    def of(self, sections: Sequence[SectionPlan]) -> tuple[SectionPlan, ...]:
        """The plan with the noise of this take."""
        return tuple(
            replace(section, noise=Noise(self.redone[section.index])) if section.index in self.redone else section
            for section in sections
        )

    @classmethod
    def read(cls, file: Path) -> "Take":
        """Raises DamagedError."""
        written = read_json(file)
        for name in ("redone", "files"):
            written[name] = {int(index): value for index, value in written[name].items()}
        return cls(**written)


def read_takes(folder: Path) -> list[Take]:
    """All takes of a work folder, in their order; the first is always there. Raises DamagedError."""
    files = sorted((file for file in folder.iterdir() if FILE.fullmatch(file.name)), key=lambda file: file.name)
    return [Take(), *map(Take.read, files)]
