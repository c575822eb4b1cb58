"""What a page's buttons do: asks the service, and says in a sentence what came of it. Knows no component of Gradio."""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framepack.app.machine import gigabytes_of, preserving
from framepack.app.service.batches import cancel_batch, newest_batches
from framepack.app.service.job_service import Service
from framepack.app.service.paths import for_client
from framepack.app.service.uploads import Incoming, checked
from framepack.app.ui import form, many, views
from framepack.app.ui.controls import Values
from framepack.app.ui.kept import recalled
from framepack.jobs.job import ENDED, UNFINISHED, Job, UnknownJob
from framepack.media.frames import Which
from framepack.media.image import encode_image
from framepack.media.sandbox import decode_untrusted_video, still_of_untrusted_video
from framepack.pipeline.preset_settings import OF_ONE_VIDEO, shared
from framepack.pipeline.presets import Presets

BATCHES = 3
"""Batches that are shown, the newest ones."""
HISTORY = 60
"""Videos the history shows; older ones are found by searching."""
WAITING = ("queued", "paused")
LAST_FRAME = "The video's last frame is the picture now."
FRAME_TAKEN = {
    "start": "Frame {number} is the start picture now.",
    "end": "Frame {number} is the last picture now.",
    "guide": "Frame {number} is a keyframe now, at {second:g} s.",
}
"""What a frame of a video can become in the form."""
EARLIEST = 0.1
"""Second that a video's first frame gets as a keyframe: those lie after the start picture."""
EDITED = "You edit a copy of this job's settings; what was in the form comes back afterwards."
TOO_LATE = "The job that was edited has begun or is gone. The form has its settings still: Generate makes another one."
Notice = dict[str, str]


@dataclass(kw_only=True)
class Outcome:
    """What a page has to change: some values of its controls, its job, the job it edits, the line that speaks."""

    values: dict[str, Any] = field(default_factory=dict)
    """What replaces something in the form; the page can take it back."""
    job: str | None = None
    editing: str | None = None
    """The job that is edited from now on, on a copy of the form; empty: no more, and the form of before is back."""
    loose: bool = False
    """The job cannot be edited any more: the form stays as it is and is an ordinary one."""
    said: list[str] = field(default_factory=list)
    machine: Mapping[str, Any] | None = None
    """How the job whose settings came back may use the machine."""
    beside: tuple[bool, str] | None = None
    """What stands beside the fields: whether the seed is kept, GB of GPU memory to leave free."""

    @property
    def text(self) -> str:
        """The line that speaks."""
        return " ".join(self.said)


class Desk:
    """One for all pages; nothing of a tab is kept here."""

    def __init__(self, service: Service, presets: Presets) -> None:
        self.service, self.presets = service, presets

    def look(self, job: str, search: str) -> tuple[views.View, views.View, list[views.View]]:
        """The large pane, the queue and the history, as they are now. A queue of just this job is none."""
        counts, queue = self.service.store.counts(), self._reachable(self.service.jobs(status=UNFINISHED))
        total = sum(counts.get(status, 0) for status in UNFINISHED)
        if [other.id for other in queue] == [job]:
            queue, total = [], 0
        history = self.service.jobs(status=ENDED, search=search.strip(), limit=HISTORY)
        return self.stage(job), views.queue(queue, total), views.rows(self._reachable(history))

    def stage(self, job: str) -> views.View:
        """The large pane of a tab whose job is `job`."""
        try:
            found = self._reachable([self.service.get(job)])[0] if job else None
        except UnknownJob:
            found = None
        running = found is not None and found.status == "running"
        preview = self.service.preview(job) if running else None
        return views.stage(found, preview[1] if preview else 0)

    def advice(self, model: str) -> views.View | None:
        """What to say of a model beside its choice, None where all is well."""
        models = self.service.models
        return views.advice(model, models.lack(model), models.models_dir is not None)

    def summary(self, values: Values) -> str:
        """What the form's values will make, in a line."""
        draft = form.draft(values)
        return views.summary(draft, self.service.models.models_dir, form.sizes(draft, self.service.folders))

    def submit(self, values: Values, shown: str, editing: str, preserve: str = "") -> Outcome:
        """Queue what the form says, or save it as the job that is edited. The tab stays with a job that still runs.

        preserve: GB of GPU memory to leave free, empty for the service's own way.
        """
        if editing and not self.editable(editing):
            return Outcome(loose=True, said=[TOO_LATE])
        own = [lora.file for lora in self.service.get(editing).request.loras] if editing else ()
        request = form.request_of(values, self.service.folders, own)
        machine = preserving(gigabytes_of(preserve), gpu=self.service.has_gpu)
        if editing:
            self.service.edit(editing, request, machine)
            return Outcome(editing="", said=["Saved: the job in the queue has these settings now."])
        job = self.service.submit([request], machine=machine)[0]
        if self._busy(shown):
            return Outcome(said=["Queued. It begins when those before it are done."])
        return Outcome(job=job.id)

    def make_many(self, values: Values, said: many.Many, shown: str, preserve: str) -> Outcome:
        """Queue several videos at once; the tab stays with a job that still runs."""
        machine = preserving(gigabytes_of(preserve), gpu=self.service.has_gpu)
        jobs = many.make(self.service, values, said, machine)
        told = [f"{len(jobs)} videos are queued." if len(jobs) > 1 else "1 video is queued."]
        return Outcome(job=None if self._busy(shown) else jobs[0].id, said=told)

    def batches(self) -> list[views.View]:
        """The newest batches: those that are being made, and those with a contact sheet."""
        found = newest_batches(self.service, BATCHES)
        return [many.view(batch) for batch in found if batch.unfinished or batch.sheet]

    def editable(self, job: str) -> bool:
        """Whether the job is still there and has not begun."""
        try:
            found = self.service.get(job)
            return found.status in WAITING and not found.progress.section
        except UnknownJob:
            return False

    def act(self, what: str, job: str, place: int, values: Values) -> Outcome:
        """A button of a job."""
        match what:
            case "show":
                return Outcome(job=self.service.get(job).id)
            case "cancel" | "stop" | "pause" | "resume":
                getattr(self.service, what)(job)
            case "retry":
                return Outcome(job=self.service.retry(job).id)
            case "up" | "down":
                self._move(job, -1 if what == "up" else 1)
            case "cancel all":
                cancel_batch(self.service, job)
            case "delete":
                self.service.delete(job, files=True)
            case "edit":
                return self._settings(job, EDITED, edited=True)
            case "reuse":
                return self._settings(job, "The settings of this video are in the form.")
            case "input":
                return Outcome(values={"image": self._kept_frame(job, "last")[0]}, said=[LAST_FRAME])
            case "start" | "end" | "guide":
                return self._frame(what, job, place, values)
            case _:
                raise ValueError(f"there is no button called {what!r}")
        return Outcome()

    def begun(self, kept: str) -> Outcome:
        """What a page opens with: the form its tab had, else the starred preset, else this browser's last form.

        kept: JSON of the first and the last, from the browser. ValueError for a preset that cannot be loaded.
        """
        forms = recalled(kept, self.service.folders)
        if mine := forms.get("here"):
            lost = bool(mine.editing) and not self.editable(mine.editing)
            editing = "" if lost else mine.editing
            return Outcome(values=mine.values, beside=mine.beside, editing=editing, said=[TOO_LATE] * lost)
        if start := self.presets.startup():
            return replace(self.with_preset(start), said=[])
        if before := forms.get("before"):
            return Outcome(values=before.values, beside=before.beside)
        return Outcome()

    def dropped(self, said: str) -> Outcome:
        """Settings that came with a video; `said` is the API's answer to its upload, in JSON."""
        uploads = json.loads(said)
        values, missing = form.restored(uploads[0]["request"], self.service.folders)
        return Outcome(values=values, said=["The settings of this video are back.", *missing])

    def video(self, upload: str) -> Outcome:
        """A video without settings was handed in: it may go on from its end."""
        file = form.find_file(upload, (self.service.folders.uploads,))
        frame = decode_untrusted_video(file, count=1, tail=True)[0]
        said = (
            "This video carries no FramePack settings. Its last frame is the picture now, so yours goes on from there."
        )
        return Outcome(values={"image": self._keep(encode_image(frame, "png"))}, said=[said])

    def preset(self, what: str, event: dict[str, Any], values: Values) -> Outcome:
        """A button of the presets."""
        presets, name = self.presets, str(event.get("name") or "")
        match what:
            case "save":
                if wrong := form.findings({**values, "prompts": [], "frames": [], "end_frame": [], "seed": ""}):
                    raise form.FieldError(*next(iter(wrong.items())))
                return Outcome(said=[f"Saved as {presets.save(name, shared(form.json_of(values)))}."])
            case "load":
                return self.with_preset(name)
            case "rename":
                presets.rename(name, str(event.get("new") or ""))
            case "delete":
                presets.delete(name)
            case "start":
                presets.start_with(name or None)
            case "import":
                taken = presets.take_in(str(event.get("text") or ""))
                without = [f"{', '.join(taken.left_out)} left out: a preset has none."] if taken.left_out else []
                return Outcome(said=[f"Imported {', '.join(taken.names)}.", *without])
            case _:
                raise ValueError(f"there is no button called {what!r}")
        return Outcome()

    def with_preset(self, name: str) -> Outcome:
        """The preset's settings; what makes one video, such as its picture and its sentence, stays as it is."""
        new, said = form.restored(self.presets.load(name), self.service.folders)
        values = {field: value for field, value in new.items() if field not in OF_ONE_VIDEO}
        return Outcome(values=values, said=[f"{name} is loaded.", *said])

    def presets_view(self) -> views.View:
        """What the list of presets shows."""
        presets = self.presets
        wrong = list(presets.damaged())
        return {"names": presets.names(), "startup": presets.startup(), "all": presets.exported(), "damaged": wrong}

    def _reachable(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs with those of their videos that a page can fetch: others lie elsewhere, by a local request's wish."""
        folder = self.service.folders.outputs
        return [replace(job, outputs=tuple(file for file in job.outputs if file.parent == folder)) for job in jobs]

    def _busy(self, job: str) -> bool:
        try:
            return bool(job) and self.service.get(job).status in UNFINISHED
        except UnknownJob:
            return False

    def _move(self, job: str, by: int) -> None:
        waiting = [other.id for other in self.service.jobs(status=["queued", "paused"], limit=-1)]
        place = waiting.index(job) + 1 if job in waiting else 1  # one that has begun meanwhile is refused by the queue
        self.service.move(job, max(place + by, 1))

    def _settings(self, job: str, text: str, *, edited: bool = False) -> Outcome:
        found = self.service.get(job)
        request, own = found.request, [lora.file for lora in found.request.loras] if edited else ()
        values, said = form.restored(for_client(request.model_dump(mode="json")), self.service.folders, own)
        editing = job if edited else None
        return Outcome(values=values, said=[text, *said], machine=found.machine, editing=editing)

    def _frame(self, what: str, job: str, number: int, values: Values) -> Outcome:
        """A frame of a job's video as a picture of the form."""
        picture, shown_at = self._kept_frame(job, number)
        second = max(round(shown_at, 2), EARLIEST)
        held = {"image": picture, "strength": 1}
        new = {
            "start": {"image": picture},
            "end": {"end_frame": [held]},
            "guide": {"frames": [*(values["frames"] or []), held | {"second": second}]},
        }
        return Outcome(values=new[what], said=[FRAME_TAKEN[what].format(number=number, second=second)])

    def _kept_frame(self, job: str, which: Which) -> tuple[str, float]:
        """A frame of a job's video, kept as an upload: its id, and the second it appears at."""
        file = self.service.video(self.service.get(job).id)
        if file is None:
            raise ValueError("This job has no video; choose another one.")
        shown, _ = checked(lambda video: still_of_untrusted_video(video, video.name, which=which), file)
        return self._keep(encode_image(shown.pixels, "png")), shown.second

    def _keep(self, png: bytes) -> str:
        with Incoming(self.service.folders) as incoming:
            incoming.write(png)
            return incoming.accept().id


def trouble(error: Exception) -> Notice:
    """What to tell of an error: a mistake in a sentence, anything else with its story one click away."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, ValueError):
        notice = {"tone": "wrong", "text": views.sentence(text)}
        return notice | {"field": error.field} if isinstance(error, form.FieldError) else notice
    story = "".join(traceback.format_exception(error))
    return {"tone": "wrong", "text": f"That did not work: {views.sentence(text)}", "detail": story}
