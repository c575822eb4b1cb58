"""What the page shows of jobs, as plain data that a browser draws as text and never as HTML. Pure.

Addresses are those of the HTTP API, on the same server.
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
from framepack.media.video import FORMATS
from framepack.spec.output import OutputSettings
from framepack.spec.plan import delivery
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import is_backward, keyframes_of, tiles_of
from framepack.spec.unheeded import unheeded
from framepack.spec.unknown import unknown_in
from framepack.spec.variants import VARIANTS

PLAYABLE = {".mp4": "video", ".webm": "video", ".gif": "picture", ".webp": "picture"}
"""What a browser can show of our files, and as what."""
TITLES = {
    "queued": "Waiting its turn",
    "running": "Making your video",
    "paused": "Paused",
    "done": "Done",
    "failed": "This did not work",
    "cancelled": "Stopped",
}
WISHES = {"cancel": "Stopping …", "stop": "Stopping after this section …", "pause": "Pausing after this section …"}
FEW = 50e6
"""Bytes up to which a size says nothing."""
CELLS_SHOWN = 200
"""A longer video's timeline is drawn as one bar."""

View = dict[str, Any]


def stage(job: Job | None, preview: int = 0) -> View:
    """The large pane: one job, or None for an empty page. `preview` is the number of frames of the step's preview."""
    if job is None:
        return {"status": "empty"}
    now, asked = job.progress, facts(job.request_json)
    return {
        "id": job.id,
        "status": job.status,
        "title": WISHES[job.control_request] if job.control_request and job.status == "running" else TITLES[job.status],
        "message": message(job),
        "notices": [sentence(said) for said in now.notices],
        "traceback": job.traceback,
        "percent": 100 if job.status == "done" else int(now.fraction * 100),
        "where": where(now) if job.status == "running" else "",
        "left": left(job),
        "memory": memory(now) if job.status == "running" else "",
        "step": now.step,
        "steps": now.steps or asked["steps"],
        "sections": now.section,
        "cells": asked["cells"],
        "pins": asked["pins"],
        "seconds": asked["seconds"],
        "backward": asked["backward"],
        "fps": asked["fps"],
        "prompt": asked["prompt"],
        "settings": asked["settings"],
        "picture": f"/api/jobs/{job.id}/picture",
        "preview": preview and f"/api/jobs/{job.id}/preview?v={now.section}.{now.step}",
        "preview_frames": preview,
        "actions": actions(job),
        **playing(job),
    }


def queue(jobs: Sequence[Job], total: int) -> View:
    """The first jobs of a queue of `total`, and how many more there are."""
    return {"jobs": rows(jobs), "more": max(total - len(jobs), 0)}


def rows(jobs: Sequence[Job]) -> list[View]:
    """The queue's jobs or the history: a line for each."""
    return [row(job, index) for index, job in enumerate(jobs)]


def row(job: Job, index: int) -> View:
    """One line of the queue or card of the history."""
    asked = facts(job.request_json)
    return {
        "id": job.id,
        "place": index,
        "status": job.status,
        "state": TITLES[job.status],
        "percent": 100 if job.status == "done" else int(job.progress.fraction * 100),
        "where": left(job) if job.status == "running" else "",
        "prompt": asked["prompt"],
        "label": beside(job.label, asked["prompt"]),
        "settings": asked["settings"],
        "picture": f"/api/jobs/{job.id}/picture",
        "when": time.strftime("%d %b, %H:%M", time.localtime(job.finished or job.created)),
        "actions": actions(job),
        **playing(job),
    }


def beside(label: str, prompt: str) -> str:
    """What a label says that does not stand beside it anyway: a batch's labels may have the sentence in them."""
    return " ".join(label.replace(prompt[:MAX_LABEL], " ").split()) if prompt else label


def actions(job: Job) -> list[str]:
    """What can be done with a job now, in the order of the buttons. None takes the place of another under a finger."""
    if job.status == "running":
        last = job.progress.sections and job.progress.section + 1 >= job.progress.sections
        return ["cancel"] if job.control_request or last else ["cancel", "pause", "stop"]
    if job.status == "queued":
        return ["cancel", "pause", "up", "down"] + (["edit"] if not job.progress.section else [])
    if job.status == "paused":
        return ["cancel", "resume", "up", "down"] + (["edit"] if not job.progress.section else [])
    again = ["retry"] if job.status != "done" else []
    made = ["input"] if playing(job)["show"] else []
    return [*again, *made, "reuse", "delete"]


def playing(job: Job) -> View:
    """What exists of the video: `video` plays in a browser, as what `show` says; `save` is the file called `file`.

    A file that no browser plays is shown as an mp4, made of it when someone looks. `formats`: what else it can become.
    """
    if not job.outputs:
        return {"video": "", "show": "", "save": "", "file": "", "formats": []}
    file, address = job.outputs[0], f"/api/jobs/{job.id}/video"
    suffix = file.suffix.lower()
    version = "done" if job.status == "done" else f"{job.progress.section}-{job.progress.frames}"
    others = [name for name, row in FORMATS.items() if row.suffix != suffix]
    return {
        "video": f"{address}?v={version}" if suffix in PLAYABLE else f"{address}?format=mp4&v={version}",
        "show": PLAYABLE.get(suffix, "video"),
        "save": f"{address}?v={version}",
        "file": file.name,
        "formats": others if job.status != "running" else [],
    }


def message(job: Job) -> str:
    """The sentence below the title."""
    if job.status == "running":
        return (job.progress.stage or "starting").capitalize()
    if job.status == "queued":
        return sentence(job.reason) or "It begins by itself. You may close this page: it goes on without it."
    if job.status == "done":
        return f"{job.progress.frames} frames in {clock(job.ran)}" if job.ran >= 1 else ""
    if job.status == "cancelled" and job.outputs:
        return sentence(job.reason) or "What was finished is kept and plays."
    return sentence(job.reason)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}" if text else ""


def where(now: Progress) -> str:
    """Section and step while there are any to come."""
    if not now.sections or now.section >= now.sections:
        return ""
    return f"Section {now.section + 1} of {now.sections}, step {now.step} of {now.steps}"


def left(job: Job) -> str:
    """How long it will take, once that can be told."""
    seconds = job.progress.seconds_left
    if job.status != "running" or seconds is None:
        return ""
    return f"about {clock(seconds)} left"


def memory(now: Progress) -> str:
    """Bytes in use, for people."""
    names = {"ram": "RAM", "vram": "GPU"}
    return " · ".join(f"{names.get(kind, kind)} {size / 2**30:.1f} GB" for kind, size in now.memory.items() if size)


@lru_cache(maxsize=2000)
def facts(request_json: str) -> View:
    """What a job's request says, as the page shows it. A request today's rules refuse still has a line."""
    asked: dict[str, Any] = json.loads(request_json)
    view: View = {
        "prompt": asked.get("prompt") or "",
        "settings": f"{asked.get('model')} · {number(asked.get('seconds'))} s · seed {asked.get('seed')}",
        "steps": asked.get("steps") or 0,
        "cells": [],
        "pins": [],
        "seconds": 0,
        "backward": False,
        "fps": (asked.get("output") or {}).get("fps") or OutputSettings().fps,
    }
    try:
        return view | timeline(GenerationRequest.stored(asked))
    except ValueError:
        return view


def number(value: Any) -> str:
    """As people write it; what is none as it is."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def timeline(request: GenerationRequest) -> View:
    """The sections in the video's order: share of its length, and when each is made; pins are keyframes."""
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
    """What will be made, what of the request has no effect, and what is cut off, for below the button.

    sizes: width and height of the pictures that are known.
    """
    told = *unheeded(request), *unknown_in(request, models_dir), *cuts(request, sizes)
    line, doubts = delivery(request), told
    return " ".join([f"{line}." if doubts else line, *map(sentence, doubts)])


def advice(model: str, lack: int | None, models_dir: bool) -> View | None:
    """What to say beside the choice of a model that is not here; `lack`: bytes to fetch, None where it is."""
    if lack is None:
        return None
    size = f"about {lack / 1e9:.1f} GB" if lack > FEW else "a few files"
    return {
        "title": f"{model} is not downloaded",
        "text": f"{size[0].upper()}{size[1:]} are missing, and jobs with it fail. On the computer that runs FramePack:",
        "command": f"framepack models download {model}{' --models-dir FOLDER' if models_dir else ''}",
        "then": f"{'FOLDER is the one this service was started with. ' if models_dir else ''}Nothing is downloaded by "
        "itself; this goes away once the model is there."
        + (f" {VARIANTS[model].territories}." if VARIANTS[model].territories else ""),
    }
