"""Files that nobody needs any more: of deleted jobs, uploads of no job, what a crash left."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from framepack.app.service.convert import Conversions
from framepack.app.service.thumbnails import sweep_thumbnails
from framepack.files.atomic import sweep_parts
from framepack.jobs.folders import Folders
from framepack.jobs.job import Job
from framepack.jobs.paths import paths_in
from framepack.jobs.store import JobStore
from framepack.media.credentials import BESIDE, SIDECAR

UNUSED_AFTER = 24 * 3600.0
"""Seconds after which an upload that no job uses is dropped."""


def tidy_up(jobs: Sequence[Job], folders: Folders, conversions: Conversions) -> None:
    """Delete what no job uses; uploads and half-written files a day after they came."""
    conversions.sweep({job.id for job in jobs})
    folders.limit(job for job in jobs if job.status == "done")
    used = used_by(jobs)
    for file in folders.uploads.iterdir():
        if file not in used and time.time() - file.stat().st_mtime > UNUSED_AFTER:
            file.unlink(missing_ok=True)
    sweep_thumbnails(folders)
    for folder in (folders.outputs, folders.home / "presets", folders.home / "thumbnails"):
        sweep_parts(folder, unwritten=UNUSED_AFTER)


def used_by(jobs: Iterable[Job]) -> set[Path]:
    """The files that jobs name."""
    return {path for job in jobs for path in paths_in(json.loads(job.request_json))}


def forget(store: JobStore, folders: Folders, job: str, *, files: bool) -> Job:
    """Take a job that does not run out of the queue, with its unfinished work and, if asked for, its video."""
    old = store.delete(job)
    folders.clear(job)
    Conversions(folders).forget(job)
    for file in old.outputs if files else ():
        if file.parent == folders.outputs:
            file.unlink(missing_ok=True)
            if file.suffix in BESIDE:
                file.with_suffix(SIDECAR).unlink(missing_ok=True)
    for part in folders.outputs.glob(f"*-{job}.part-*") if files else ():  # left by requests it had before
        part.unlink(missing_ok=True)
    return old
