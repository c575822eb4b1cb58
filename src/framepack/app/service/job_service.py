"""The job service: the one thing the page, the HTTP API and `framepack batch` talk to.

Owns the queue, the workers and the folders while it is open. A job belongs to the service, not to the client that
submitted it.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from framepack.app.machine import has_gpu
from framepack.app.service.convert import Conversions, held_in
from framepack.app.service.finishings import Finishings
from framepack.app.service.models_here import ModelsHere, not_here
from framepack.app.service.paths import adopt, with_file
from framepack.app.service.sheets import Sheets
from framepack.app.service.takes import TakeNode, Wanted, drop_sections, queue_take, takes_of
from framepack.app.service.tidy import forget, tidy_up, used_by
from framepack.app.service.tracker import Tracker
from framepack.app.service.uploads import drop_unfinished
from framepack.files.lock import QueueLock
from framepack.jobs.batch import batch_name
from framepack.jobs.feed import Feed, JobUpdate, Listener
from framepack.jobs.folders import Folders
from framepack.jobs.job import ENDED, UNFINISHED, Job, NoVideo, Status, UnknownJob, WrongState
from framepack.jobs.periodic import Periodic
from framepack.jobs.poll import QueuePoller
from framepack.jobs.pool import Pool, PoolConfig
from framepack.jobs.store import NO_SETTINGS, JobStore
from framepack.media.cuts import cuts, sizes_of_pngs
from framepack.media.marks import png_marked
from framepack.media.signing_key import identity_folder
from framepack.pipeline.presets import Presets
from framepack.pipeline.section_files import belongs_to_sections
from framepack.spec.formats import FORMATS
from framepack.spec.ignored import ignored_settings
from framepack.spec.output import FileCoding
from framepack.spec.request import GenerationRequest
from framepack.spec.storyboard import storyboard
from framepack.spec.unknown import unknown_in

Queued = TypeVar("Queued", Job, list[Job])
TIDY_EVERY = 3600.0
CHECK_EVERY = 20.0
"""Seconds between checks of the queue's file."""


def folders_at(outputs: Path, home: Path | None = None, **settings: Any) -> Folders:
    """The service's folders: videos in `outputs`, the rest in `home`, which is hidden inside it by default."""
    suffixes = {name: row.suffix for name, row in FORMATS.items()}
    return Folders(outputs, home or outputs / ".framepack", suffixes, **{"keeps": belongs_to_sections, **settings})


def open_queue(folders: Folders) -> JobStore:
    """The queue, for the holder of its lock. Adds a notice where its file is missing but there is unfinished work."""
    missing = not folders.queue.exists() or (folders.queue.is_file() and folders.queue.stat().st_size == 0)
    store = JobStore(folders.queue, owner=True)
    store.check()
    if missing and (left := len(folders.unfinished())):
        store.add_notice(
            f"there was no queue at {folders.queue}, so a new one was made; the work of {left} jobs is kept"
        )
    return store


class Service:
    """Use `Service.open(...)` in a `with`, or call `close`. All methods may be called from any thread."""

    def __init__(self, folders: Folders, config: PoolConfig, *, patience: float = 10.0) -> None:
        """Take the queue (Busy where another service has it) and start the workers."""
        self.folders = folders
        self.presets = Presets(folders.home / "presets")
        self.feed = Feed()
        self.started = time.time()
        self.has_gpu = has_gpu([settings.get("device", "auto") for settings in config.workers])
        with ExitStack() as stack:
            lock = QueueLock(folders.home / "service.lock", patience)
            stack.callback(lock.close)
            self.store = open_queue(folders)
            stack.callback(self.store.close)
            folders.used = lambda: used_by(self.store.jobs(limit=-1))
            self.sheets = Sheets(self.store, self.feed, folders)
            stack.callback(self.sheets.close)
            stack.callback(QueuePoller(self.store, self.feed).close)
            self.conversions = Conversions(folders)
            self.finishings = Finishings(folders, self.conversions)
            for close in (self.finishings.join, self.conversions.close, self.finishings.close):  # the last one first
                stack.callback(close)
            folder = next((settings["models_dir"] for settings in config.workers if settings.get("models_dir")), None)
            self.models = ModelsHere(Path(folder) if folder else None)
            folders.private = (identity_folder(), *((Path(folder).absolute(),) if folder else ()))
            stack.callback(self.models.close)
            self.pool = Pool(self.store, self.feed, folders, config, Tracker, keep=lock.descriptors)
            drop_unfinished(folders)
            self.tidy_up()
            stack.callback(Periodic(self.tidy_up, TIDY_EVERY, "tidying").close)
            stack.callback(Periodic(self.store.check, CHECK_EVERY, "check of the queue").close)
            self.pool.start()
            stack.callback(self.pool.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Return running jobs to the queue and stop the workers."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def get(self, job: str) -> Job:
        """The job as it is this moment; UnknownJob where there is none."""
        return self._newest(self.store.get(job))

    def jobs(
        self,
        *,
        status: Iterable[Status] | None = None,
        batch: str | None = None,
        search: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> list[Job]:
        """Unfinished jobs in their order, then ended ones, newest first."""
        found = self.store.jobs(status=status, batch=batch, search=search, limit=limit, offset=offset)
        return [self._newest(job) for job in found]

    def listen(self, job: str | None = None) -> Listener:
        """Updates of one job or of all. The first ones are the present state, so a late listener misses nothing.

        Of all: every unfinished job and the newest of those that ended.
        """
        listener = self.feed.listen(job)
        try:
            listener.begin_with([JobUpdate(job=now) for now in ([self.get(job)] if job else self._present())])
        except UnknownJob:
            listener.close()
            raise
        return listener

    def preview(self, job: str) -> tuple[bytes, int] | None:
        """The last step's expected frames below each other as one PNG, and how many; None while there are none."""
        attempt = self.pool.attempt_of(job)
        if attempt is None or attempt.preview is None:
            return None
        marked = attempt.job.request.output.mark
        return png_marked(attempt.preview) if marked else attempt.preview, attempt.preview_frames

    def video(self, job: str) -> Path | None:
        """The file that plays what exists of the job's video by now."""
        outputs = self.get(job).outputs
        return outputs[0] if outputs and outputs[0].is_file() else None

    def converted(self, job: str, output: FileCoding) -> Path:
        """The job's video in another format, rate or speed; waits until it is made. While it runs only as an mp4.

        As it is where it is in that format and codec already, and nothing else is said. Without a crf it has the job's.
        """
        file, now = self.video(job), self.get(job)
        if file is None:
            raise NoVideo(f"job {job} has no video yet; it appears with the first section")
        held = held_in(file, now.request.output) == (output.format, output.codec_name)
        if held and not output.model_fields_set - {"format", "codec"}:
            return file
        if now.status == "running" and output.format != "mp4":
            raise WrongState(f"job {job} is running; its video can be converted to {output.format} when it is finished")
        return self.conversions.file(job, file, output, crf=now.request.output.coding.crf)

    def health(self) -> dict[str, Any]:
        """The state of the service, for people and monitors."""
        workers = [
            {
                "name": slot.name,
                "state": slot.state,
                "job": slot.attempt.job.id if slot.attempt else None,
                "trouble": slot.problem,
                "last_death": slot.last_crash,
                "restarts": slot.restarts,
                "memory": slot.worker.channel.memory if slot.worker else {},
            }
            for slot in self.pool.slots
        ]
        disk = {"free": self.folders.free_space(), "full": self.folders.full()}
        counts, trouble = self.store.last_counts()
        queue = {"trouble": trouble, "repaired": list(self.store.notices)}
        past = time.time() - self.started
        return {"jobs": counts, "queue": queue, "workers": workers, "disk": disk, "seconds": past}

    # Changing

    def submit(
        self,
        requests: Sequence[GenerationRequest],
        *,
        batch: str | None = None,
        labels: Sequence[str] = (),
        machine: Mapping[str, Any] = NO_SETTINGS,
    ) -> list[Job]:
        """Queue requests, all or none. Their pictures are copied, so that theirs may be moved or deleted.

        machine: see `app.machine`.
        """
        adopted = [adopt(request, self.folders) for request in requests]
        return self._woken(self.store.submit(adopted, batch=batch, labels=labels, machine=machine))

    def storyboard(self, request: GenerationRequest, machine: Mapping[str, Any] = NO_SETTINGS) -> list[Job]:
        """Queue a batch of stills, one for each border between the sections of the video of `request`."""
        panels = storyboard(request)
        requests, labels = [one.request for one in panels], [one.label for one in panels]
        return self.submit(requests, batch=batch_name("storyboard"), labels=labels, machine=machine)

    def doubts(self, request: GenerationRequest) -> list[str]:
        """Notes on a submitted request: a model that is not downloaded, what has no effect, what is cut off."""
        models_dir, sizes = self.models.models_dir, sizes_of_pngs(request, lambda file: file)
        missing = not_here(request.model, models_dir)
        notes = *ignored_settings(request), *unknown_in(request, models_dir), *cuts(request, sizes)
        return [missing, *notes] if missing else [*notes]

    def cancel(self, job: str, *, force: bool = False) -> Job:
        """End it within a step. `force` kills its worker."""
        now = self.store.cancel(job)
        if force:
            self.pool.kill(job)
        return now

    def pause(self, job: str) -> Job:
        """Pause it after the current section."""
        return self.store.pause(job)

    def stop(self, job: str) -> Job:
        """End it after the current section."""
        return self.store.stop(job)

    def resume(self, job: str) -> Job:
        """Queue a paused job again."""
        return self._woken(self.store.resume(job))

    def retry(self, job: str) -> Job:
        """Queue a failed or cancelled job again."""
        return self._woken(self.store.retry(job))

    def redo(self, job: str, wanted: Wanted) -> Job:
        """Queue another take of a finished job's video."""
        return self._woken(queue_take(self.store, self.folders, job, wanted))

    def takes(self, job: str) -> list[TakeNode]:
        """All takes of a job's video."""
        return takes_of(self.store, self.get(job))

    def drop_sections(self, job: str) -> bool:
        """Delete what a finished job keeps for other takes, if it does; its video stays, and so do the takes."""
        return drop_sections(self.store, self.folders, job)

    def move(self, job: str, place: int) -> Job:
        """Put a waiting job at `place`, 1 is next."""
        return self.store.move(job, place)

    def edit(self, job: str, request: GenerationRequest, machine: Mapping[str, Any] = NO_SETTINGS) -> Job:
        """Give a waiting job another request; one that names no file keeps the job's."""
        if self.store.get(job).tree:
            raise WrongState(f"job {job} is a take, which cannot be edited: cancel it and redo the section again")
        before = json.loads(self.store.get(job).request_json)["output"]
        return self.store.edit(job, adopt(with_file(request, before), self.folders), machine)

    def delete(self, job: str, *, files: bool = False) -> None:
        """Remove a job that does not run, with its unfinished work and, if asked for, its video."""
        forget(self.store, self.folders, job, files=files)

    # Inside

    def _present(self) -> list[Job]:
        return self.jobs(status=UNFINISHED, limit=-1) + self.jobs(status=ENDED)

    def _newest(self, job: Job) -> Job:
        attempt = self.pool.attempt_of(job.id)
        if attempt is None or attempt.job.claim != job.claim:
            return job
        return replace(job, progress=attempt.progress, outputs=attempt.job.outputs)

    def _woken(self, queued: Queued) -> Queued:
        self.pool.wake()
        return queued

    def tidy_up(self) -> None:
        """Delete files that nobody needs any more."""
        tidy_up(self.store.jobs(limit=-1), self.folders, self.conversions)
        self.finishings.sweep()
