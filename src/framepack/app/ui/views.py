"""What the page shows of jobs, as plain data. The browser draws it as text, never as HTML. Pure.

Addresses are those of the HTTP API on the same server.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from framepack.app.clock import clock
from framepack.jobs.grid import MAX_LABEL
from framepack.jobs.job import Job, Progress
from framepack.media.cuts import cuts
from framepack.media.editors import EDITORS
from framepack.spec.formats import FORMATS, SUFFIXES
from framepack.spec.ignored import ignored_settings
from framepack.spec.output import PICTURE, OutputSettings
from framepack.spec.plan import delivery
from framepack.spec.request import GenerationRequest
from framepack.spec.tasks import TASKS
from framepack.spec.timeline import is_backward, keyframes_of, tiles_of
from framepack.spec.unknown import unknown_in
from framepack.spec.variants import VARIANTS

PLAYABLE = {".mp4": "video", ".webm": "video", ".gif": "image", ".webp": "image", ".apng": "image", PICTURE: "image"}
"""Files that a browser can show, and the element that shows them."""
UNPLAYED = ("h265",)
"""Codecs of such files that not every browser has."""
TITLES = {
    "queued": "Waiting its turn",
    "running": "Making your video",
    "paused": "Paused",
    "done": "Done",
    "failed": "This did not work",
    "cancelled": "Stopped",
}
STOPPING = {"cancel": "Stopping …", "stop": "Stopping after this section …", "pause": "Pausing after this section …"}
SMALL = 50e6
"""Bytes. A smaller download is called "a few files"."""
CELLS_SHOWN = 200
"""Sections. The timeline of a longer video is one bar."""

View = dict[str, Any]


def viewer(job: Job | None, preview: int = 0, kept: int = 0) -> View:
    """The viewer of one job, or of none.

    preview: the number of frames of the step's preview. kept: bytes of the sections that the job keeps for takes.
    """
    if job is None:
        return {"status": "empty"}
    now, facts = job.progress, request_facts(job.request_json)
    return {
        "id": job.id,
        "status": job.status,
        "title": title(job),
        "message": message(job),
        "notices": [as_sentence(notice) for notice in now.notices],
        "traceback": job.traceback,
        "percent": 100 if job.status == "done" else int(now.fraction * 100),
        "where": position(now) if job.status == "running" else "",
        "left": time_left(job),
        "memory": memory_in_use(now) if job.status == "running" else "",
        "step": now.step,
        "steps": now.steps or facts["steps"],
        "sections": now.section,
        "cells": facts["cells"],
        "pins": facts["pins"],
        "seconds": facts["seconds"],
        "backward": facts["backward"],
        "joins": facts["joins"],
        "fps": facts["fps"],
        "prompt": facts["prompt"],
        "settings": facts["settings"],
        "still": facts["still"],
        "takes": {"kept": kept} if job.status == "done" and not facts["still"] else None,
        "picture": picture(job),
        "preview": preview and f"/api/jobs/{job.id}/preview?v={now.section}.{now.step}",
        "preview_frames": preview,
        "actions": actions(job),
        **video_view(job),
    }


def queue(jobs: Sequence[Job], total: int) -> View:
    """The first jobs of a queue of `total`, and how many more there are."""
    return {"jobs": job_rows(jobs), "more": max(total - len(jobs), 0)}


def job_rows(jobs: Sequence[Job]) -> list[View]:
    """The rows of the queue or the history."""
    return [job_row(job, index) for index, job in enumerate(jobs)]


def title(job: Job) -> str:
    """The job's status in a word; while it runs, the end that was asked for."""
    asked = job.control_request if job.status == "running" else None
    if job.status == "running" and not asked and request_facts(job.request_json)["still"]:
        return "Making one frame"
    return STOPPING[asked] if asked else TITLES[job.status]


def job_row(job: Job, index: int) -> View:
    """A row of the queue, or a card of the history."""
    facts = request_facts(job.request_json)
    return {
        "id": job.id,
        "place": index,
        "status": job.status,
        "state": TITLES[job.status],
        "percent": 100 if job.status == "done" else int(job.progress.fraction * 100),
        "where": time_left(job) if job.status == "running" else "",
        "prompt": facts["prompt"],
        "label": extra_label(job.label, facts["prompt"]),
        "settings": facts["settings"],
        "picture": picture(job),
        "when": time.strftime("%d %b, %H:%M", time.localtime(job.finished or job.created)),
        "actions": actions(job),
        **video_view(job),
    }


def picture(job: Job) -> str:
    """A thumbnail: of the frame that a still is, else of the image that the job starts from."""
    made = job.outputs[0] if job.outputs and job.status == "done" else None
    return f"/api/uploads/{made.name}/picture" if made and made.suffix == PICTURE else f"/api/jobs/{job.id}/picture"


def extra_label(label: str, prompt: str) -> str:
    """The label without the prompt, which is shown next to it: a batch's labels may contain the prompt."""
    return " ".join(label.replace(prompt[:MAX_LABEL], " ").split()) if prompt else label


def actions(job: Job) -> list[str]:
    """The buttons that work for a job now, in order. No button moves to where another was about to be pressed."""
    still = request_facts(job.request_json)["still"]
    edit = ["edit"] if not (job.progress.section or job.tree or still) else []
    if job.status == "running":
        last = job.progress.sections and job.progress.section + 1 >= job.progress.sections
        return ["cancel"] if job.control_request or last else ["cancel", "pause", "stop"]
    if job.status == "queued":
        return ["cancel", "pause", "up", "down", *edit]
    if job.status == "paused":
        return ["cancel", "resume", "up", "down", *edit]
    retry = ["retry"] if job.status != "done" else []
    video = ["input"] if video_view(job)["show"] else []
    extend = ["extend"] if video and job.status == "done" and not still else []
    return [*retry, *video, *extend, "reuse", "delete"]


def video_view(job: Job) -> View:
    """The video so far: `video` plays in a browser as `show` says; `save` downloads the file named `file`.

    A file that no browser plays is converted to an mp4 when it is shown. `formats`: others to download it in;
    `timelines`: endings of those for editing programs.
    """
    if not job.outputs:
        return {"video": "", "show": "", "save": "", "file": "", "formats": [], "timelines": {}}
    file, address = job.outputs[0], f"/api/jobs/{job.id}/video"
    suffix = file.suffix.lower()
    version = "done" if job.status == "done" else f"{job.progress.section}-{job.progress.frames}"
    facts = request_facts(job.request_json)
    own = facts["format"] if facts["format"] in SUFFIXES.get(suffix, ()) else SUFFIXES.get(suffix, ("",))[0]
    others = [name for name in FORMATS if name != own]
    whole = job.status != "running" and not facts["still"]
    plays = suffix in PLAYABLE and ((facts["codec"] not in UNPLAYED and not facts["lossless"]) or ".part" in file.name)
    converted = "format=mp4&codec=h264" if suffix == ".mp4" else "format=mp4"
    return {
        "video": f"{address}?v={version}" if plays else f"{address}?{converted}&v={version}",
        "show": PLAYABLE.get(suffix, "video"),
        "save": f"{address}?v={version}",
        "file": file.name,
        "formats": others if whole else [],
        "timelines": {name: row.suffix for name, row in EDITORS.items()} if whole else {},
    }


def message(job: Job) -> str:
    """The message below the title."""
    if job.status == "running":
        return (job.progress.stage or "starting").capitalize()
    if job.status == "queued":
        return as_sentence(job.reason) or "It starts by itself. You may close this page."
    if job.status == "done":
        frames = job.progress.frames
        return f"{frames} frame{'s' * (frames > 1)} in {clock(job.ran)}" if job.ran >= 1 else ""
    if job.status == "cancelled" and job.outputs:
        return as_sentence(job.reason) or "The finished part is kept and plays."
    return as_sentence(job.reason)


def as_sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}" if text else ""


def position(now: Progress) -> str:
    """The current section and step; empty after the last section."""
    if not now.sections or now.section >= now.sections:
        return ""
    return f"Section {now.section + 1} of {now.sections}, step {now.step} of {now.steps}"


def time_left(job: Job) -> str:
    """The time left, once it is known."""
    seconds = job.progress.seconds_left
    if job.status != "running" or seconds is None:
        return ""
    return f"about {clock(seconds)} left"


def memory_in_use(now: Progress) -> str:
    """Memory in use, in GB."""
    names = {"ram": "RAM", "vram": "GPU"}
    return " · ".join(f"{names.get(kind, kind)} {size / 2**30:.1f} GB" for kind, size in now.memory.items() if size)


@lru_cache(maxsize=2000)
def request_facts(request_json: str) -> View:
    """A job's request as the page shows it. One that is no longer valid has a line but no timeline."""
    asked: dict[str, Any] = json.loads(request_json)
    output: dict[str, Any] = asked.get("output") or {}
    still, task = bool(asked.get("still")), asked.get("task") or "image"
    what = "one frame" if still else f"{format_number(asked.get('seconds'))} s"
    what = what if task == "image" or task not in TASKS else f"{TASKS[task].title}, {what}"
    view: View = {
        "prompt": asked.get("prompt") or "",
        "settings": f"{asked.get('model')} · {what} · seed {asked.get('seed')}",
        "still": still,
        "joins": task in TASKS and bool(TASKS[task].beside),
        "steps": asked.get("steps") or 0,
        "cells": [],
        "pins": [],
        "seconds": 0,
        "backward": False,
        "fps": output.get("fps") or OutputSettings().fps,
        "format": output.get("format") or OutputSettings().format,
        "codec": output.get("codec"),
        "lossless": output.get("quality") == "lossless",
    }
    try:
        return view if still else view | timeline(GenerationRequest.stored(asked))
    except ValueError:
        return view


def format_number(value: Any) -> str:
    """The number without trailing zeros; anything else as text."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def timeline(request: GenerationRequest) -> View:
    """The sections in the video's order: share of its length, and order of generation. Pins are keyframes."""
    tiles, total = tiles_of(request), request.latent_count
    in_order = sorted(enumerate(tiles), key=lambda section: section[1].start)
    cells = [{"order": index, "share": len(latents) / total} for index, latents in in_order]
    return {
        "cells": cells if len(cells) <= CELLS_SHOWN else [],
        "pins": [min(one.latent / total, 1.0) for one in keyframes_of(request)],
        "seconds": round(request.frame_count / request.geometry.fps, 2),
        "backward": is_backward(request),
    }


def summary(request: GenerationRequest, models_dir: Path | None, sizes: Mapping[str, tuple[int, int]]) -> str:
    """What will be generated, which settings have no effect, and what is cut off, for the line below the button.

    sizes: width and height of the images whose size is known.
    """
    line = delivery(request)
    notes = (*ignored_settings(request), *unknown_in(request, models_dir), *cuts(request, sizes))
    return " ".join([f"{line}." if notes else line, *map(as_sentence, notes)])


def advice(model: str, lack: int | None, models_dir: bool) -> View | None:
    """How to get a model that is not downloaded. `lack`: bytes to download, None where nothing is missing."""
    if lack is None:
        return None
    size = f"About {lack / 1e9:.1f} GB" if lack > SMALL else "A few files"
    folder = "FOLDER is the one this service was started with. " if models_dir else ""
    territories = f" {VARIANTS[model].territories}." if VARIANTS[model].territories else ""
    return {
        "title": f"{model} is not downloaded",
        "text": f"{size} are missing, so jobs with this model fail. On the computer that runs FramePack, run:",
        "command": f"framepack models download {model}{' --models-dir FOLDER' if models_dir else ''}",
        "then": f"{folder}FramePack downloads nothing by itself. This note goes when the model is there.{territories}",
    }
