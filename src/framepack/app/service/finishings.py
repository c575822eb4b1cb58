"""Files that someone hands in to have them finished or converted: one after another, watched, cancelled, kept a day.

Each has a folder of its own: what came in, the order, which is written last, the result, and that it is done. What a
killed service was at begins anew when the next one opens; what is cancelled leaves nothing. The work is that of
`convert`, in its children.
"""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from framepack.app.service.convert import Conversions, TooMany
from framepack.app.service.incoming import FILES
from framepack.app.service.uploads import UNUSED_MOST, NoRoom
from framepack.files.atomic import atomic_write
from framepack.files.errors import MediaError
from framepack.jobs.folders import Folders
from framepack.jobs.job import UnknownJob, WrongState
from framepack.media.credentials import BESIDE, SIDECAR
from framepack.spec.finish import FileFinish
from framepack.spec.formats import FORMATS
from framepack.spec.output import FileCoding

MOST = 32
"""That may wait at a time."""
KEPT = 24 * 3600.0
"""Seconds after which one that has ended is dropped."""
LONGEST = 60
"""Letters of the file's name that the result's name has."""
ORDER, DONE, MADE = "order.json", "done.json", "made"
"""In a finishing's folder: what is to be done, what came of it, and the result, alone in a folder, as a decoder that
was taken over could change all beside it."""
State = Literal["waiting", "running", "done", "failed"]


class FileWork(FileFinish, FileCoding):
    """What is done to a file that is there: steps on its frames, and how they are written. `file` is the one."""

    file: str = "part:file"
    """An upload's id, the name of a file in the outputs folder, or `part:NAME` for one that the form brings."""

    def steps(self) -> FileFinish:
        """The steps alone."""
        return FileFinish.model_validate(self.model_dump(include={*FileFinish.model_fields}, exclude_unset=True))

    @property
    def result(self) -> str:
        """The new file's name."""
        stem = f"{Path(self.file).stem[:LONGEST]}{'-finished' if self.steps().changes else ''}"
        return f"{stem}{FORMATS[self.format].suffix}"

    def output(self) -> FileCoding:
        """The new file alone."""
        return FileCoding.model_validate(self.model_dump(include={*FileCoding.model_fields}, exclude_unset=True))


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """Where one stands. `frames` of `total` are written; `file` is the result's name, `beside` its credentials'."""

    id: str
    status: State = "waiting"
    frames: int = 0
    total: int = 0
    file: str = ""
    beside: str = ""
    notices: tuple[str, ...] = ()
    error: str = ""


STATE = TypeAdapter(Finishing)


class Ended(Exception):  # noqa: N818 - reads as the word it is
    """It was cancelled, or the service ends."""


class Finishings:
    """Of one service. All methods may be called from any thread; `close` ends the one at work, which stays in order."""

    def __init__(self, folders: Folders, conversions: Conversions) -> None:
        self.home, self._folders, self._conversions = folders.home / "finishings", folders, conversions
        self._known: dict[str, Finishing] = {}
        self._changed = threading.Condition()
        self._closing = False
        self.home.mkdir(exist_ok=True)
        for folder in sorted(self.home.iterdir(), key=lambda one: one.stat().st_mtime):
            self._take_up(folder)
        self._thread = threading.Thread(target=self._work, name="finishings", daemon=True)
        self._thread.start()

    def begin(self) -> Path:
        """A new folder for what comes in; hand it to `add` or `drop`. TooMany, NoRoom."""
        with self._changed:
            waiting = sum(one.status in ("waiting", "running") for one in self._known.values())
        if waiting >= MOST:
            raise TooMany(f"{MOST} files wait to be finished already: try again in a minute")
        self.require_room()
        folder = self.home / secrets.token_hex(6)
        (folder / FILES).mkdir(parents=True)
        return folder

    def add(self, folder: Path, work: FileWork, notices: Sequence[str] = ()) -> Finishing:
        """Put a folder's work in the queue, with notices of its own; its files, `work.file` too, lie in it."""
        with atomic_write(folder / ORDER) as temporary:
            temporary.write_text(work.model_dump_json(exclude_unset=True), "utf-8")
        return self._set(Finishing(id=folder.name, file=work.result, notices=tuple(notices)))

    def drop(self, folder: Path) -> None:
        """Nothing came of it."""
        shutil.rmtree(folder, ignore_errors=True)

    def get(self, name: str) -> Finishing:
        """UnknownJob where there is none."""
        with self._changed:
            if name not in self._known:
                raise UnknownJob(f"there is no finishing {name[:80]!r}; it was cancelled, or ended a day ago")
            return self._known[name]

    def all(self) -> list[Finishing]:
        """In the order they came."""
        with self._changed:
            return list(self._known.values())

    def file(self, name: str) -> Path:
        """The result. WrongState where there is none yet."""
        now = self.get(name)
        if now.status != "done":
            raise WrongState(f"finishing {name} is {now.status}: {now.error or 'its file is there when it is done'}")
        return self.home / name / MADE / now.file

    def credentials(self, name: str) -> Path:
        """The file beside the result that has its credentials. UnknownJob where there is none."""
        now = self.get(name)
        if not now.beside:
            raise UnknownJob(f"finishing {name} has no credentials beside its file")
        return self.home / name / MADE / now.beside

    def cancel(self, name: str) -> None:
        """End it, and forget it and all its files."""
        self.get(name)
        with self._changed:
            del self._known[name]
            self._changed.notify_all()
        self._conversions.stop(self.home / name)
        self.drop(self.home / name)

    def sweep(self) -> None:
        """Drop what ended a day ago."""
        for one in self.all():
            if one.status in ("done", "failed") and time.time() - (self.home / one.id).stat().st_mtime > KEPT:
                self.cancel(one.id)

    def close(self) -> None:
        """Make no more; what was being made begins anew the next time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._conversions.stop(self.home)

    def join(self) -> None:
        """Wait for the work to end, once nothing is converted any more."""
        self._thread.join()

    def require_room(self) -> None:
        """NoRoom where what was handed in takes all the bytes it may."""
        if self._folders.full():
            raise NoRoom("the disk is full, so nothing can be finished; free some space")
        if sum(file.stat().st_size for file in files_below(self.home)) > UNUSED_MOST:
            raise NoRoom(
                f"files to be finished take {UNUSED_MOST / 2**30:g} GB already; delete some that are done, or wait"
            )

    def _take_up(self, folder: Path) -> None:
        """What an earlier service has left: a result, an order to begin anew, or half of what came in."""
        if not (folder / ORDER).is_file():
            self.drop(folder)
            return
        self._known[folder.name] = Finishing(id=folder.name)
        with suppress(FileNotFoundError, ValueError):  # damaged by another hand: the work fails, and says why
            self._known[folder.name] = STATE.validate_json((folder / DONE).read_bytes())
            shutil.rmtree(folder / FILES, ignore_errors=True)

    def _set(self, now: Finishing, *, known: bool = False) -> Finishing:
        """Remember its state. known: only if it was not forgotten meanwhile, else Ended."""
        with self._changed:
            if self._closing or (known and now.id not in self._known):
                raise Ended
            self._known[now.id] = now
            self._changed.notify_all()
        return now

    def _next(self) -> Finishing | None:
        """The next one that waits; None when there is to be none."""
        with self._changed:
            while not self._closing:
                waiting = next((one for one in self._known.values() if one.status == "waiting"), None)
                if waiting is not None:
                    return waiting
                self._changed.wait()
        return None

    def _work(self) -> None:
        while (one := self._next()) is not None:
            try:
                self._make(self._set(replace(one, status="running"), known=True))
            except Ended:
                self.drop_cancelled(one.id)

    def drop_cancelled(self, name: str) -> None:
        """What the child may have written after its folder was deleted."""
        with self._changed:
            kept = name in self._known
        if not kept:
            self.drop(self.home / name)

    def _make(self, now: Finishing) -> None:
        folder = self.home / now.id
        try:
            work = FileWork.model_validate_json((folder / ORDER).read_text("utf-8"))
            source, output, steps = Path(work.file), work.output(), work.steps()
            target = folder / MADE / work.result
            now = replace(now, file=target.name)

            def heard(said: dict[str, Any]) -> None:
                nonlocal now
                told = {key: said[key] for key in ("frames", "total") if key in said}
                notices = (*now.notices, *([said["notice"]] if "notice" in said else []))
                now = self._set(replace(now, notices=notices, **told), known=True)

            frames = self._conversions.make(source, target, output, steps, heard)
            aside = target.with_suffix(SIDECAR)
            beside = aside.name if target.suffix in BESIDE and aside.is_file() else ""
            done = replace(now, status="done", file=target.name, beside=beside, frames=frames, total=frames)
            with atomic_write(folder / DONE) as temporary:
                temporary.write_bytes(STATE.dump_json(done))
            shutil.rmtree(folder / FILES, ignore_errors=True)
            os.utime(folder)
            self._set(done, known=True)
        except (ValueError, MediaError, OSError) as error:
            self._set(replace(now, status="failed", error=str(error)), known=True)


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and those in it."""
    return (file for file in folder.rglob("*") if file.is_file())
