"""`framepack jobs ...`: the queue from the command line, whether a service runs or not. `cli_service` works on it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from framepack.jobs.folders import Folders
    from framepack.jobs.job import Job
    from framepack.jobs.store import JobStore

jobs_app = typer.Typer(no_args_is_help=True, help="Show and control the queue.")

Outputs = Annotated[
    Path | None, typer.Option("--outputs", help="Folder of the videos and their queue. [env: FRAMEPACK_OUTPUTS]")
]
JobId = Annotated[str, typer.Argument(help="The job's id, or its first characters.")]


def folders_of(outputs: Path | None) -> "Folders":
    """The folders the options and the environment name."""
    from framepack.app.service.job_service import folders_at
    from framepack.app.settings import Settings

    return folders_at(outputs or Settings.from_environment().outputs)


@contextmanager
def queue(outputs: Path | None) -> "Iterator[JobStore]":
    """The queue, open for a command."""
    store = open_store(folders_of(outputs))
    try:
        yield store
    finally:
        store.close()


def open_store(folders: "Folders") -> "JobStore":
    """The queue; a damaged one is repaired first, unless a service has it, which does that itself."""
    import contextlib

    from framepack.app.service.job_service import open_queue
    from framepack.files.lock import Busy, QueueLock
    from framepack.jobs.store import JobStore

    with contextlib.suppress(ValueError, sqlite3.Error):
        store = JobStore(folders.queue)
        if store.intact():
            return store
        store.close()
    with contextlib.suppress(Busy), contextlib.closing(QueueLock(folders.home / "service.lock", patience=0.0)):
        own = open_queue(folders)
        own.check()
        own.close()
    return JobStore(folders.queue)


def line(job: "Job") -> str:
    """A job in one line, also one whose request today's rules refuse."""
    asked = json.loads(job.request_json)
    progress = job.progress
    where = f"{progress.fraction:4.0%}" if job.status == "running" else "    "
    about = job.label or str(asked.get("prompt") or "")
    request = f" ({job.control_request} requested)" if job.control_request else ""
    reason = f" - {job.reason}" if job.reason else ""
    return f"{job.id}  {job.status:9} {where}  {asked.get('model') or '':12} {about[:60]}{request}{reason}"


@jobs_app.command("list")
def list_jobs(
    outputs: Outputs = None,
    status: Annotated[list[str] | None, typer.Option(help="Only with this status: queued, running, done ...")] = None,
    search: Annotated[str, typer.Option(help="Only with this text in the prompt, label or id.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
) -> None:
    """List jobs: unfinished ones in their order, then ended ones, newest first."""
    from typing import get_args

    from framepack.jobs.job import Status

    if limit < 1:
        raise ValueError(f"--limit must be 1 or more, got {limit}: leave it out for the newest 50")
    known = get_args(Status)
    for name in status or []:
        if name not in known:
            raise ValueError(f"--status must be one of {', '.join(known)}, got {name!r}")
    with queue(outputs) as store:
        found = store.jobs(status=status, search=search, limit=limit)  # type: ignore[arg-type]
    for job in found:
        print(line(job))
    if not found:
        print("no jobs")


@jobs_app.command()
def show(job: JobId, outputs: Outputs = None) -> None:
    """Everything about a job, as JSON; the traceback after it."""
    from dataclasses import asdict

    with queue(outputs) as store:
        found = store.find(job)
    fields = asdict(found)
    fields["request"] = json.loads(fields.pop("request_json"))
    traceback = fields.pop("traceback")
    print(json.dumps(fields, indent=2, default=str, ensure_ascii=False))
    if traceback:
        print(traceback)


@jobs_app.command()
def cancel(job: JobId, outputs: Outputs = None) -> None:
    """End a job: within a step if it runs. What is finished stays playable."""
    with queue(outputs) as store:
        print(line(store.cancel(store.find(job).id)))


@jobs_app.command("cancel-batch")
def cancel_batch(
    batch: Annotated[str, typer.Argument(help="The batch's name, as `framepack batch` printed it.")],
    outputs: Outputs = None,
) -> None:
    """End all jobs of a batch that are not finished."""
    with queue(outputs) as store:
        if not store.jobs(batch=batch, limit=1):
            raise ValueError(f"there is no batch called {batch[:80]!r}; `framepack batch` prints the name")
        store.cancel_batch(batch)
        for job in store.jobs(batch=batch, limit=-1):
            print(line(job))


@jobs_app.command()
def stop(job: JobId, outputs: Outputs = None) -> None:
    """End a running job after its current section."""
    with queue(outputs) as store:
        print(line(store.stop(store.find(job).id)))


@jobs_app.command()
def pause(job: JobId, outputs: Outputs = None) -> None:
    """Pause a job: after its current section if it runs."""
    with queue(outputs) as store:
        print(line(store.pause(store.find(job).id)))


@jobs_app.command()
def resume(job: JobId, outputs: Outputs = None) -> None:
    """Queue a paused job again."""
    with queue(outputs) as store:
        print(line(store.resume(store.find(job).id)))


@jobs_app.command()
def retry(job: JobId, outputs: Outputs = None) -> None:
    """Queue a failed or cancelled job again; it resumes after its last finished section."""
    with queue(outputs) as store:
        print(line(store.retry(store.find(job).id)))


@jobs_app.command()
def redo(
    job: JobId,
    section: Annotated[
        int | None, typer.Option(help="Make only this section anew, counted from 1; its neighbours stay.")
    ] = None,
    from_section: Annotated[
        int | None, typer.Option(help="Make this section anew and all that are made after it.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="What happens in that section.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Its noise is that of a video with this seed; else another in each take.")
    ] = None,
    outputs: Outputs = None,
) -> None:
    """Queue another take of a finished job's video, in which a section is made anew. It has a file of its own."""
    from framepack.app.service.takes import Wanted, queue_take

    if (section is None) == (from_section is None):
        raise ValueError("give either --section, which is made anew alone, or --from-section, with all made after it")
    wanted = Wanted.of(section, from_section, prompt, seed)
    with queue(outputs) as store:
        print(line(queue_take(store, folders_of(outputs), store.find(job).id, wanted)))


@jobs_app.command()
def takes(job: JobId, outputs: Outputs = None) -> None:
    """The takes of a job's video as a tree: what each made anew, and which take made each section."""
    from framepack.app.service.takes import takes_of, tree_lines

    with queue(outputs) as store:
        print(*tree_lines(takes_of(store, store.find(job))), sep="\n")


@jobs_app.command()
def clean(
    job: Annotated[str | None, typer.Argument(help="Only of this job.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Of all jobs, keep those of the newest up to this size, such as 2GB.")
    ] = None,
    outputs: Outputs = None,
) -> None:
    """Delete the sections that finished jobs keep for other takes. Videos stay; the jobs cannot be redone any more."""
    from framepack.app.service.takes import drop_sections
    from framepack.spec.machine import parse_bytes

    if job is not None and keep is not None:
        raise ValueError("--keep is a size for all jobs together: leave it out, or leave the job out")
    folders = folders_of(outputs)
    with queue(outputs) as store:
        if job is not None:
            found = store.find(job).id
            gone = [found] if drop_sections(store, folders, found) else []
        else:
            gone = folders.limit(store.jobs(status=["done"], limit=-1), parse_bytes(keep or "0GB"))
    if gone:
        print(f"the sections of {len(gone)} job{'s' * (len(gone) > 1)} are deleted", *gone, sep="\n")
    else:
        print(f"nothing is deleted: {'no more than that' if keep else 'no section'} was kept")


@jobs_app.command()
def delete(
    job: JobId,
    outputs: Outputs = None,
    files: Annotated[bool, typer.Option("--files", help="Delete its video too, if in the outputs folder.")] = False,
) -> None:
    """Delete a job that does not run, with its unfinished work. Its video stays, unless --files is given."""
    from framepack.app.service.tidy import forget

    with queue(outputs) as store:
        old = forget(store, folders_of(outputs), store.find(job).id, files=files)
    videos = [f"{file} {'stays' if file.exists() else 'is deleted'}" for file in old.outputs]
    print(f"{old.id} is deleted", *videos, sep="; ")


@jobs_app.command()
def move(
    job: JobId,
    place: Annotated[int, typer.Argument(help="1 is next.")],
    outputs: Outputs = None,
) -> None:
    """Put a waiting job elsewhere in the queue."""
    with queue(outputs) as store:
        store.move(store.find(job).id, place)
        for other in store.jobs(status=["queued", "paused"]):
            print(line(other))
