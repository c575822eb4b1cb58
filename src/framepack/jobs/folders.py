"""Where a service keeps things: finished videos in `outputs`, everything else in `home`. Says when there is no room."""

import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from framepack.jobs.job import Job
from framepack.jobs.wire import Errand

RESERVE = 256 * 2**20
"""Bytes that must be free before a job is begun."""
PARTS = ("work", "logs", "loras")
GAIN = 64 * 2**20
"""Bytes that must have become free before a job that found the disk full goes on."""


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`."""
    return shutil.disk_usage(folder).free


@dataclass
class Folders:
    """Made when they are missing. `suffixes` are of the formats whose files do not end in the format's own name;
    `free` says how much room a folder's disk has, `used` which uploads jobs use.
    """

    outputs: Path
    home: Path
    suffixes: Mapping[str, str] = field(default_factory=dict)
    reserve: int = RESERVE
    free: Callable[[Path], int] = free_bytes
    used: Callable[[], Collection[Path]] = tuple
    _needed: int = 0

    def __post_init__(self) -> None:
        self.outputs, self.home = self.outputs.resolve(), self.home.resolve()
        self.make()

    def make(self) -> None:
        """Make what is missing; someone may have deleted it under a service."""
        for folder in (self.outputs, self.home, self.uploads, *(self.home / name for name in PARTS)):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def queue(self) -> Path:
        """The queue's file."""
        return self.home / "queue.sqlite"

    @property
    def uploads(self) -> Path:
        """Pictures and videos that were handed in."""
        return self.home / "uploads"

    def work(self, job: str) -> Path:
        """A job's unfinished work, below it a folder for each request it has had."""
        return self.home / "work" / job

    def log(self, worker: str) -> Path:
        """What a worker wrote on standard error."""
        return self.home / "logs" / f"{worker}.log"

    def errand(self, job: Job) -> Errand:
        """The job for a worker. Its file is named after its day and id, the same in every attempt, and so its own."""
        request = job.request
        if request.output.path is None:
            day = time.strftime("%Y%m%d-%H%M%S", time.localtime(job.created))
            suffix = self.suffixes.get(request.output.format, f".{request.output.format}")
            path = self.outputs / f"{day}-{job.id}{suffix}"
            output = request.output.model_copy(update={"path": path, "overwrite": True})
            request = request.model_copy(update={"output": output})
        work = self.work(job.id) / sha256(job.request_json.encode()).hexdigest()[:12]
        work.mkdir(parents=True, exist_ok=True)
        return Errand(job=job.id, request=request, outputs=self.outputs, work=work, machine=job.machine)

    def clear(self, job: str) -> None:
        """Drop a job's unfinished work."""
        shutil.rmtree(self.work(job), ignore_errors=True)

    def sweep(self, wanted: set[str]) -> None:
        """Drop the unfinished work of all jobs but the wanted ones."""
        for name in self.unfinished() - wanted:
            self.clear(name)

    def unfinished(self) -> set[str]:
        """The jobs that have unfinished work here."""
        work = self.home / "work"
        return {folder.name for folder in work.iterdir()} if work.is_dir() else set()

    def room(self) -> int:
        """Bytes free where it is tightest."""
        self.make()
        return min(self.free(self.outputs), self.free(self.home))

    def full_elsewhere(self, job: Job) -> Path | None:
        """The folder of a job's video, where that is on a disk of its own which has less room than ours."""
        path = job.request.output.path
        folder = None if path is None else path.absolute().parent
        return folder if folder and folder.is_dir() and self.free(folder) + GAIN < self.room() else None

    def found_full(self) -> None:
        """A job found no space: others wait until there is more of it."""
        self._needed = self.room() + GAIN

    def full(self) -> bool:
        """Whether no job should be begun for want of space."""
        return self.room() < max(self.reserve, self._needed)
