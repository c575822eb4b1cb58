"""A contact sheet for each batch that is done: one still of every video with its label."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from framepack.files.errors import MediaError
from framepack.jobs.feed import Feed
from framepack.jobs.folders import Folders
from framepack.jobs.job import ENDED, UNFINISHED, Job
from framepack.jobs.periodic import JOIN_TIMEOUT
from framepack.jobs.store import JobStore
from framepack.media.image import ImageRGB
from framepack.media.marks import MARKED, wanted_by
from framepack.media.sandbox import decode_untrusted_image, decode_untrusted_video
from framepack.media.sheet import contact_sheet, save_png, thumbnail
from framepack.spec.output import PICTURE

COLUMNS = 4
MOST = 400
"""Videos a sheet shows; of a larger batch the first."""
CELL = 320
"""Pixels a cell of the sheet is wide at most."""


class Sheets:
    """Listens for ends of jobs on a thread of its own, until `close`."""

    def __init__(self, store: JobStore, feed: Feed, folders: Folders) -> None:
        self._store, self._folders = store, folders
        self._listener = feed.listen()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="sheets", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._listener.close()
        self._thread.join(JOIN_TIMEOUT)

    def _listen(self) -> None:
        while not self._closing.is_set():
            update = self._listener.get(0.5)
            if update and update.event is None and update.job.batch and update.job.status in ENDED:
                with suppress(OSError, ValueError, sqlite3.OperationalError):  # a batch is complete without its sheet
                    make_sheet(self._store, self._folders, update.job.batch, self._closing.is_set)


def sheet_file(folders: Folders, batch: str) -> Path:
    """Where a batch's contact sheet is."""
    return folders.outputs / f"{batch}.sheet.png"


def make_sheet(store: JobStore, folders: Folders, batch: str, stop: Callable[[], bool] = lambda: False) -> Path | None:
    """The sheet of a batch without unfinished jobs; None where there are some, or no video to show, or on `stop`."""
    if store.jobs(batch=batch, status=UNFINISHED, limit=1):
        return None
    shown: list[tuple[ImageRGB, str]] = []
    mark = False
    for job in sorted(store.jobs(batch=batch, status=["done"], limit=-1), key=lambda job: job.position):
        if stop():
            return None
        if len(shown) < MOST and (picture := still(job)) is not None:
            height, width = picture.shape[:2]
            mark = mark or wanted_by({"request": json.loads(job.request_json)})
            shown.append((thumbnail(picture, max(CELL, round(CELL * height / width))), job.label or job.id))
    if not shown:
        return None
    pictures, labels = [picture for picture, _ in shown], [label for _, label in shown]
    file = sheet_file(folders, batch)
    sheet = contact_sheet(pictures, min(COLUMNS, len(pictures)), width=CELL, labels=labels)
    save_png(file, sheet, MARKED if mark else None)
    return file


def still(job: Job) -> ImageRGB | None:
    """The last frame of a job's video, where most has happened, or its picture; None where there is none to read."""
    try:
        if job.outputs and job.outputs[0].suffix == PICTURE:
            return decode_untrusted_image(job.outputs[0])
        return decode_untrusted_video(job.outputs[0], count=1, tail=True)[0] if job.outputs else None
    except MediaError:
        return None
