"""A finished video in another format, made when someone asks for it and kept beside the queue.

One at a time, and beside it one of the files that are handed in, in child processes with limits and a low priority
(`convert_child`): a long video or a damaged file can slow nothing down and take nothing along. What was made is kept
until its job is deleted or a day has passed.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from framepack.app.service.notices import LINE, keep, kept, said_in
from framepack.app.service.notices import MOST as MOST_NOTICES
from framepack.app.service.uploads import NoRoom
from framepack.files.child import NOTHING, PIPE, Child, bare_environment, start
from framepack.files.errors import MediaError
from framepack.jobs.folders import Folders
from framepack.media.credentials import BESIDE, SIDECAR, drop_sidecar, lost, require_signing
from framepack.media.signing_key import identity_folder
from framepack.pipeline.finishing import network_used
from framepack.spec.finish import FileFinish
from framepack.spec.formats import CRF, FORMATS, SUFFIXES, codec_of
from framepack.spec.output import FileCoding, OutputSettings

KEPT = 24 * 3600.0
"""Seconds after which a service drops what was converted."""
MOST = 4
"""Videos that may be asked for at a time; further ones are refused, as one may take an hour."""
MOST_OF_JOB = 2
"""Of them, of one job, so that nobody's job closes the way for all others."""
NO_STEPS = FileFinish()
Heard = Callable[[dict[str, Any]], None]
"""Takes what a child says on its way: `frames` of `total`, or a `notice`."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a conversion may use."""

    seconds: int = 3600
    memory_bytes: int = 4 << 30
    """Address space, so libraries count."""
    file_bytes: int = 8 << 30


DEFAULT = Limits()


def unheard(_: dict[str, Any]) -> None:
    """Nobody listens."""


class TooMany(ValueError):  # noqa: N818 - reads as the sentence it is
    """More conversions than are done in sensible time. `wait`: seconds after which asking again makes sense."""

    wait = 60


class Conversions:
    """Of the videos of one service. `close` ends those being made."""

    def __init__(self, folders: Folders, limits: Limits = DEFAULT) -> None:
        self._folders, self._limits = folders, limits
        self._turn, self._turn_of_files, self._counting = threading.Lock(), threading.Lock(), threading.Lock()
        self._asked: list[str] = []
        self._children: dict[Path, Child] = {}
        self._closing = False

    def file(self, job: str, source: Path, output: FileCoding, steps: FileFinish = NO_STEPS, *, crf: int = CRF) -> Path:
        """`source`, a video of `job`, as `output` says and with steps done to it; waits for its turn.

        crf: where `output` says nothing of quality.

        What is made has the time of what it was made from, so that a source that changes meanwhile is made again.
        Raises MediaError where it cannot be made, NoRoom where the disk is full, TooMany where it would take too long.
        """
        target = self.folder(job) / name_of(source.stem, output, steps)
        if is_of(target, source):
            return target
        with self._place(job), self._turn:
            version = source.stat().st_mtime_ns
            if not is_of(target, source):
                notices: list[str] = []
                answer = self._make(
                    source, target, with_crf(output, crf), steps, lambda said: notices.extend(notice_in(said))
                )
                if answer["signed"]:
                    notices += self._signed(source, target, beside=False)
                keep(target, notices)
                os.utime(target, ns=(version, version))
        return target

    def notices(self, file: Path) -> list[str]:
        """What was said when `file`, which `file` returned, was made."""
        return kept(file)

    def make(self, source: Path, target: Path, output: FileCoding, steps: FileFinish, heard: Heard) -> int:
        """Make `target` of `source` when its turn comes; the child may change all that is beside `target`.

        It is signed where `source` is, in NAME.c2pa beside it where it can hold no credentials. Returns its number of
        frames. heard: is told how far it is, and raises to end the work, before which nothing is begun.
        Raises as `file` does.
        """
        with self._turn_of_files:
            heard({})
            answer = self._make(source, target, output, steps, heard)
            drop_sidecar(target)
            heard({})
            for notice in self._signed(source, target) if answer["signed"] else ():
                heard({"notice": notice})
            return answer["frames"]

    @contextmanager
    def _place(self, job: str) -> Iterator[None]:
        """Among those that wait for their turn; TooMany where there is none."""
        with self._counting:
            if self._asked.count(job) >= MOST_OF_JOB:
                raise TooMany(f"{MOST_OF_JOB} formats of this video are being converted already: try again in a minute")
            if len(self._asked) >= MOST:
                raise TooMany(f"{MOST} videos wait for conversion already: try again in a minute")
            self._asked.append(job)
        try:
            yield
        finally:
            with self._counting:
                self._asked.remove(job)

    def folder(self, job: str) -> Path:
        """Where the conversions of a job are."""
        return self._folders.home / "converted" / job

    def forget(self, job: str) -> None:
        """Drop what was made of a job's video."""
        shutil.rmtree(self.folder(job), ignore_errors=True)

    def sweep(self, wanted: Collection[str]) -> None:
        """Drop what is old, and what was made of jobs that are not wanted any more."""
        home = self._folders.home / "converted"
        for folder in home.iterdir() if home.is_dir() else ():
            if folder.name not in wanted or time.time() - folder.stat().st_mtime > KEPT:
                self.forget(folder.name)

    def stop(self, folder: Path) -> None:
        """End what is being made in a folder, or below."""
        for target, child in list(self._children.items()):
            if folder in target.parents:
                child.kill()

    def close(self) -> None:
        """Make no more."""
        self._closing = True
        for child in list(self._children.values()):
            child.kill()

    def _make(self, source: Path, target: Path, output: FileCoding, steps: FileFinish, heard: Heard) -> dict[str, Any]:
        """Make it; returns its `frames`, and whether the source is `signed`."""
        if self._folders.full():
            raise NoRoom("the disk is full, so nothing can be converted; free some space")
        if self._closing:
            raise MediaError("the service is shutting down: try again when it is back")
        target.parent.mkdir(parents=True, exist_ok=True)
        order = {
            "target": str(target),
            "output": output.model_dump(mode="json", exclude_defaults=True),
            "limits": asdict(self._limits),
            "steps": steps.model_dump(mode="json", exclude_defaults=True),
            "read": sorted({str(file.parent) for file in files_of(steps)}),
        }
        try:
            answer = self._ask("convert_child", source, order, heard)
        finally:
            for part in target.parent.glob(f".{target.name}.*.part"):
                part.unlink(missing_ok=True)
        if "full" in answer:
            raise NoRoom(answer["full"])
        if "frames" not in answer or not target.is_file():
            why = answer.get("error") or "it needs more time or memory than the service allows"
            raise MediaError(f"this video cannot be converted to {output.format}: {why}")
        aside = source.with_suffix(SIDECAR).is_file()
        return {**answer, "signed": aside if source.suffix.lower() in BESIDE else answer.get("signed", False)}

    def _signed(self, source: Path, target: Path, *, beside: bool = True) -> list[str]:
        """Sign `target`, made of the signed `source`, in a child that has the key; why not, where that cannot be.

        beside: whether a file beside it may have the credentials.
        """
        if target.suffix in BESIDE and not beside:
            why = f"those of {target.suffix[1:]} are in a file beside it: use another format, or POST /api/finishings"
            return [lost(source, why)]
        try:
            require_signing(None)  # makes the key, where there is none yet
        except (ValueError, OSError) as error:
            return [lost(source, error)]
        names = {"source": str(source), "target": str(target), "key": str(identity_folder())}
        answer = self._ask("sign_child", source, {**names, "limits": asdict(self._limits)}, unheard)
        if self._closing:
            raise MediaError("the service is shutting down: try again when it is back")
        why = answer.get("error") or "signing needs more time or memory than the service allows"
        return notice_in(answer) if "signed" in answer else [lost(source, why)]

    def _ask(self, module: str, source: Path, order: dict[str, Any], heard: Heard) -> dict[str, Any]:
        command = [sys.executable, "-P", "-s", "-m", f"framepack.app.service.{module}"]
        with ExitStack() as stack:
            file, again = (stack.enter_context(source.open("rb")) for _ in range(2))
            said, own = json.dumps({**order, "again": again.fileno()}), bare_environment()
            child = stack.enter_context(
                start([*command, said], stdin=file, stdout=PIPE, stderr=NOTHING, env=own, keep=(again.fileno(),))
            )
            target = Path(order["target"])
            self._children[target] = child
            timer = threading.Timer(self._limits.seconds, child.kill)
            timer.start()
            try:
                return self._heard(child, heard)
            finally:
                timer.cancel()
                child.kill()
                del self._children[target]

    def _heard(self, child: Child, heard: Heard) -> dict[str, Any]:
        """The last line a child says; those before it are handed on."""
        assert child.stdout is not None
        answer: dict[str, Any] = {}
        notices = 0
        for line in iter(lambda: child.stdout.readline(LINE), b""):  # type: ignore[union-attr]
            notices += "notice" in answer
            if answer and ("notice" not in answer or notices <= MOST_NOTICES):
                heard(answer)
            answer = said_in(line)
        return answer


def notice_in(said: dict[str, Any]) -> list[str]:
    """The notice in what a child said, if it is one."""
    return [said["notice"]] if "notice" in said else []


def name_of(stem: str, output: FileCoding, steps: FileFinish = NO_STEPS) -> str:
    """A file's name: with its codec, or its format, where that is not the usual one of its ending.

    Steps, and what the name does not show of compression, rate and speed, stand in it as a sum.
    """
    suffix, codec = FORMATS[output.format].suffix, output.codec_name
    usual = (SUFFIXES[suffix][0], codec_of(SUFFIXES[suffix][0]))
    said = ([] if (output.format, codec) == usual else [codec]) + (["lossless"] if output.coding.lossless else [])
    rest = output.model_dump(mode="json", exclude={"format", "codec", "crf"}, exclude_defaults=True)
    rest = {name: value for name, value in rest.items() if value != "lossless"}
    rest |= {"crf": output.crf} if "crf" in output.model_fields_set else {}
    rest |= steps.model_dump(mode="json", exclude_defaults=True)
    rest |= {"network": version_of(file)} if (file := network_used(steps)) else {}
    done = f"-{sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:8]}" if rest else ""
    return f"{stem}{done}.{'-'.join(said)}{suffix}" if said else f"{stem}{done}{suffix}"


def files_of(steps: FileFinish) -> Iterator[Path]:
    """Files that the steps read."""
    return (file for file in (*steps.join, steps.audio, steps.lut, network_used(steps)) if file is not None)


def version_of(file: Path) -> tuple[str, int, int]:
    """A file as it is now."""
    now = file.stat()
    return file.name, now.st_size, now.st_mtime_ns


def with_crf(output: FileCoding, crf: int) -> FileCoding:
    """With that crf where nothing is said of quality."""
    said = output.model_fields_set & {"crf", "quality", "bitrate"}
    return output if said else output.model_copy(update={"crf": crf})


def held_in(file: Path, output: OutputSettings) -> tuple[str, str]:
    """The format and codec of a job's video; its part may be kept in another format than the request asks for."""
    if FORMATS[output.format].suffix == file.suffix and ".part" not in file.suffixes:
        return output.format, output.codec_name
    usual = SUFFIXES.get(file.suffix.lower(), ("",))[0]
    return usual, codec_of(usual) if usual else ""


def is_of(target: Path, source: Path) -> bool:
    """Whether `target` was made of `source` as it is now."""
    try:
        return target.stat().st_mtime_ns == source.stat().st_mtime_ns
    except FileNotFoundError:
        return False
