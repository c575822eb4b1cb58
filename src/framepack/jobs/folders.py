"""Folders of a service: finished videos in `outputs`, everything else in `home`. Reports when a disk is full."""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from framepack.jobs.job import Job
from framepack.jobs.messages import Task
from framepack.spec.output import PICTURE

RESERVE = 256 * 2**20
"""Bytes that must be free before a job starts."""
SUBFOLDERS = ("work", "logs", "loras", "finishing")
KEPT_MOST = 4 * 2**30
"""Bytes that the sections of finished jobs may take together."""
MIN_GAIN = 64 * 2**20
"""Bytes that must have become free before a job that filled the disk resumes."""


def nothing(name: str) -> bool:
    """No file is kept."""
    return False


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`."""
    return shutil.disk_usage(folder).free


def disk_use(folder: Path) -> dict[int, int]:
    """Bytes of each file and folder below, by its number on the disk, which second names share."""
    found: dict[int, int] = {}
    for place, inner, names in os.walk(folder):  # it passes over a folder that is just being deleted
        for name in (*inner, *names):
            with suppress(FileNotFoundError):  # the same of a file
                state = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118 - there may be thousands
                found[state.st_ino] = state.st_size
    return found


@dataclass
class Folders:
    """Made when they are missing.

    suffixes: of the formats whose files do not end in the format's own name. free: bytes free on a folder's disk. used:
    the uploads that jobs use. keeps: whether a file of this name in a finished job's work folder stays for other takes
    of its video, all jobs together at most `kept_most` bytes. private: further folders that no client gets to see.
    """

    outputs: Path
    home: Path
    suffixes: Mapping[str, str] = field(default_factory=dict)
    reserve: int = RESERVE
    free: Callable[[Path], int] = free_bytes
    used: Callable[[], Collection[Path]] = tuple
    keeps: Callable[[str], bool] = nothing
    kept_most: int = KEPT_MOST
    private: tuple[Path, ...] = ()
    _needed: int = 0

    def __post_init__(self) -> None:
        self.outputs, self.home = self.outputs.resolve(), self.home.resolve()
        self.make()

    def make(self) -> None:
        """Make what is missing: a user may have deleted a folder while the service runs."""
        for folder in (self.outputs, self.home, self.uploads, *(self.home / name for name in SUBFOLDERS)):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def queue(self) -> Path:
        """The queue's file."""
        return self.home / "queue.sqlite"

    @property
    def uploads(self) -> Path:
        """Uploaded pictures and videos."""
        return self.home / "uploads"

    def work(self, job: str) -> Path:
        """A job's work, with a folder for each request it has had."""
        return self.home / "work" / job

    def work_of(self, job: str, request_json: str) -> Path:
        """Where a job works on one of its requests."""
        return self.work(job) / sha256(request_json.encode()).hexdigest()[:12]

    def log(self, worker: str) -> Path:
        """A worker's standard error."""
        return self.home / "logs" / f"{worker}.log"

    def task(self, job: Job) -> Task:
        """The job as a task. Its file is named by day and id: the same in every attempt, and no other job's."""
        request = job.request
        if request.output.path is None:
            day = time.strftime("%Y%m%d-%H%M%S", time.localtime(job.created))
            suffix = self.suffixes.get(request.output.format, f".{request.output.format}")
            suffix = PICTURE if request.still else suffix
            path = self.outputs / f"{day}-{job.id}{suffix}"
            output = request.output.model_copy(update={"path": path, "overwrite": True})
            request = request.model_copy(update={"output": output})
        work = self.work_of(job.id, job.request_json)
        work.mkdir(parents=True, exist_ok=True)
        return Task(job=job.id, request=request, outputs=self.outputs, work=work, machine=job.machine)

    def clear(self, job: str) -> None:
        """Delete a job's work."""
        shutil.rmtree(self.work(job), ignore_errors=True)

    def finish(self, job: Job) -> None:
        """Delete a finished job's work, but what stays for other takes of its video."""
        used = self.work_of(job.id, job.request_json)
        stays = [file for file in used.iterdir() if self.keeps(file.name)] if used.is_dir() else []
        for entry in self.work(job.id).iterdir() if stays else ():
            if entry != used:
                shutil.rmtree(entry, ignore_errors=True)
        for file in used.iterdir() if stays else ():
            if file not in stays:
                file.unlink(missing_ok=True)
        if not stays:
            self.clear(job.id)

    def limit(self, finished: Iterable[Job], most: int | None = None) -> list[str]:
        """Delete what stays of the jobs that finished first, until all takes at most `most` bytes; their ids.

        most: None for `kept_most`. What several takes share counts once.
        """
        there, most = self.unfinished(), self.kept_most if most is None else most
        kept, seen, gone = 0, set[int](), list[str]()
        for job in sorted(finished, key=lambda job: job.finished or 0.0, reverse=True):
            if job.id not in there:
                continue
            self.finish(job)
            found = disk_use(self.work(job.id))
            kept += sum(size for ino, size in found.items() if ino not in seen)
            if kept > most:
                self.clear(job.id)
                gone.append(job.id)
            else:
                seen |= found.keys()
        return gone

    def sweep(self, wanted: set[str]) -> None:
        """Delete the work of all jobs but the wanted ones."""
        for name in self.unfinished() - wanted:
            self.clear(name)

    def unfinished(self) -> set[str]:
        """The jobs that have work here: unfinished, or kept for other takes."""
        work = self.home / "work"
        return {folder.name for folder in work.iterdir()} if work.is_dir() else set()

    def free_space(self) -> int:
        """Bytes free on the fuller of the disks."""
        self.make()
        return min(self.free(self.outputs), self.free(self.home))

    def other_full_disk(self, job: Job) -> Path | None:
        """The folder of a job's video, where that is on another disk with less free space than ours."""
        path = job.request.output.path
        folder = None if path is None else path.absolute().parent
        return folder if folder and folder.is_dir() and self.free(folder) + MIN_GAIN < self.free_space() else None

    def mark_full(self) -> None:
        """A job filled the disk: no job starts until there is more space."""
        self._needed = self.free_space() + MIN_GAIN

    def full(self) -> bool:
        """Whether there is not enough space to start a job."""
        return self.free_space() < max(self.reserve, self._needed)
