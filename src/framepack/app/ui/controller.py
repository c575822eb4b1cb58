"""Handles the page's actions: calls the service and reports each result in a message. Imports nothing of Gradio."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from framepack.app.machine import gigabytes_of, preserving
from framepack.app.service.batches import cancel_batch, newest_batches
from framepack.app.service.job_service import Service
from framepack.app.service.kinds import with_usable_files
from framepack.app.service.paths import for_client
from framepack.app.ui import batch_form, first_looks, form, sources, views
from framepack.app.ui.control_rows import Values
from framepack.app.ui.restore import RESTORED, restore_values, timeline_values
from framepack.app.ui.saved_form import Extras, read_saved_forms
from framepack.jobs.folders import disk_use
from framepack.jobs.job import ENDED, UNFINISHED, Job, UnknownJob
from framepack.media.image import encode_image
from framepack.media.sandbox import decode_untrusted_video
from framepack.pipeline.preset_settings import OF_ONE_VIDEO, shared
from framepack.pipeline.presets import Presets
from framepack.spec.tasks import TASKS, able

BATCHES = 3
"""How many of the newest batches are shown."""
HISTORY = 60
"""How many videos the history shows. Search finds older ones."""
WAITING = ("queued", "paused")
LAST_FRAME = "The last frame is now the start image."
EXTENDED = "Generate now makes what follows this video, and one file of both."
EDITING = "You are editing a copy of this job's settings. Your form comes back afterwards."
TOO_LATE = "The job you were editing has started or is gone. The form keeps its settings: Generate makes a new job."
NO_SETTINGS = (
    "This video has no FramePack settings. Its last frame is now the start image. To go on from the whole video, "
    "choose what follows a video, then add it again."
)


@dataclass(kw_only=True)
class Outcome:
    """What an action changes on the page."""

    values: dict[str, Any] = field(default_factory=dict)
    """New values of controls. The page can undo them."""
    job: str | None = None
    """The job that the tab shows from now on; empty for none."""
    editing: str | None = None
    """The job that is edited from now on. Empty ends editing and brings back the form from before."""
    edit_lost: bool = False
    """The edited job can no longer be edited. The form keeps its values and becomes an ordinary one."""
    messages: list[str] = field(default_factory=list)
    machine: Mapping[str, Any] | None = None
    """Machine settings of the job whose values these are."""
    extras: Extras | None = None
    look_at: str | None = None
    """The second of the frame that "Look first" makes, as typed."""

    @property
    def text(self) -> str:
        """All messages as one text."""
        return " ".join(self.messages)


class Controller:
    """One for all tabs. It keeps no state of any of them."""

    def __init__(self, service: Service, presets: Presets) -> None:
        self.service, self.presets = service, presets

    def refresh(self, job: str, search: str) -> tuple[views.View, views.View, list[views.View]]:
        """The viewer, the queue and the history as they are now. A queue of only this job counts as empty."""
        counts, queue = self.service.store.counts(), self._with_reachable_outputs(self.service.jobs(status=UNFINISHED))
        total = sum(counts.get(status, 0) for status in UNFINISHED)
        if [other.id for other in queue] == [job]:
            queue, total = [], 0
        history = self.service.jobs(status=ENDED, search=search.strip(), limit=HISTORY)
        return self.viewer(job), views.queue(queue, total), views.job_rows(self._with_reachable_outputs(history))

    def viewer(self, job: str) -> views.View:
        """The viewer of a tab that shows `job`."""
        try:
            found = self._with_reachable_outputs([self.service.get(job)])[0] if job else None
        except UnknownJob:
            found = None
        running = found is not None and found.status == "running"
        preview = self.service.preview(job) if running else None
        kept = sum(disk_use(self.service.folders.work(found.id)).values()) if found and found.status == "done" else 0
        return views.viewer(found, preview[1] if preview else 0, kept)

    def advice(self, model: str) -> views.View | None:
        """Help for a model that is not downloaded; None where it is."""
        models = self.service.models
        return views.advice(model, models.lack(model), models.models_dir is not None)

    def summary(self, values: Values) -> str:
        """What the form's values will generate, in one line."""
        draft, service = form.draft_request(values), self.service
        return views.summary(draft, service.models.models_dir, form.image_sizes(draft, service.folders))

    def submit(self, values: Values, shown: str, editing: str, preserve: str = "") -> Outcome:
        """Queue the form as a job, or save it to the job being edited. The tab keeps showing an unfinished job.

        preserve: GB of GPU memory to leave free; empty for the service's default.
        """
        if editing and not self.editable(editing):
            return Outcome(edit_lost=True, messages=[TOO_LATE])
        own = [lora.file for lora in self.service.get(editing).request.loras] if editing else ()
        folders = self.service.folders
        request = with_usable_files(form.request_of(values, folders, own), folders)
        machine = preserving(gigabytes_of(preserve), gpu=self.service.has_gpu)
        if editing:
            self.service.edit(editing, request, machine)
            return Outcome(editing="", messages=["Saved. The job in the queue now has these settings."])
        job = self.service.submit([request], machine=machine)[0]
        if self._is_unfinished(shown):
            return Outcome(messages=["Queued. It starts when the jobs before it are done."])
        return Outcome(job=job.id)

    def submit_batch(self, values: Values, batch: batch_form.BatchForm, shown: str, preserve: str) -> Outcome:
        """Queue several videos at once. The tab keeps showing an unfinished job."""
        machine = preserving(gigabytes_of(preserve), gpu=self.service.has_gpu)
        jobs = batch_form.submit(self.service, values, batch, machine)
        message = f"{len(jobs)} videos are queued." if len(jobs) > 1 else "1 video is queued."
        return Outcome(job=None if self._is_unfinished(shown) else jobs[0].id, messages=[message])

    def batches(self) -> list[views.View]:
        """The newest batches that are unfinished or have a contact sheet."""
        found = newest_batches(self.service, BATCHES)
        return [
            batch_form.batch_view(batch) | {"panels": first_looks.panels(self.service, batch.name)}
            for batch in found
            if batch.unfinished or batch.sheet
        ]

    def editable(self, job: str) -> bool:
        """Whether the job still exists and has not started."""
        try:
            found = self.service.get(job)
            return found.status in WAITING and not found.progress.section
        except UnknownJob:
            return False

    def job_action(self, action: str, job: str, place: int, values: Values) -> Outcome:
        """Handle a job's button. place: the frame's number, for buttons of a frame."""
        match action:
            case "show":
                return Outcome(job=self.service.get(job).id)
            case "cancel" | "stop" | "pause" | "resume":
                getattr(self.service, action)(job)
            case "retry":
                return Outcome(job=self.service.retry(job).id)
            case "up" | "down":
                self._move(job, -1 if action == "up" else 1)
            case "cancel all":
                cancel_batch(self.service, job)
            case "delete":
                self.service.delete(job, files=True)
            case "edit":
                return self._load_settings(job, EDITING, editing=True)
            case "reuse":
                return self._load_settings(job, RESTORED)
            case "input":
                image = sources.upload_frame(self.service, job, "last")[0]
                return Outcome(values=sources.start_from(image, values), messages=[LAST_FRAME])
            case "extend":
                return self._extend(job, values)
            case "start" | "end" | "keyframe":
                used, message = sources.use_frame(self.service, action, job, place, values)
                return Outcome(values=used, messages=[message])
            case _:
                raise ValueError(f"there is no button called {action!r}")
        return Outcome()

    def initial_form(self, saved: str) -> Outcome:
        """The form of a page that opens: its tab's saved form, else the starred preset, else the browser's last form.

        saved: JSON of the tab's and the browser's form. Raises ValueError for a preset that cannot be loaded.
        """
        forms = read_saved_forms(saved, self.service.folders)
        if mine := forms.get("here"):
            lost = bool(mine.editing) and not self.editable(mine.editing)
            editing = "" if lost else mine.editing
            return Outcome(values=mine.values, extras=mine.extras, editing=editing, messages=[TOO_LATE] * lost)
        if start := self.presets.startup():
            return replace(self.load_preset(start), messages=[])
        if last := forms.get("before"):
            return Outcome(values=last.values, extras=last.extras)
        return Outcome()

    def follow_task(self, values: Values) -> Outcome:
        """The model of the form's size that can do the form's task, where its own cannot."""
        model = self._able(values)
        if model == values["model"]:
            return Outcome()
        made = TASKS[values["task"]].made
        message = f"The model is now {model}, as {values['model']} does not make {made} by itself."
        return Outcome(values={"model": model}, messages=[message])

    def first_look(self, action: str, second: str, values: Values, shown: str, preserve: str) -> Outcome:
        """Queue one frame of the form's video, or its storyboard. The tab keeps showing an unfinished job.

        second: of the frame, as typed; empty for the usual one.
        """
        machine = preserving(gigabytes_of(preserve), gpu=self.service.has_gpu)
        jobs, message = first_looks.queue(self.service, action, second, values, machine)
        return Outcome(job=None if self._is_unfinished(shown) else jobs[0].id, messages=[message])

    def storyboard_keyframes(self, batch: str, jobs: Sequence[str], values: Values) -> Outcome:
        """The chosen frames of a storyboard as keyframes of the form."""
        frames = first_looks.keyframes(self.service, batch, jobs, values)
        return Outcome(values={"frames": frames}, messages=[first_looks.CHOSEN.format(count=len(jobs))])

    def restore_dropped(self, answer: str) -> Outcome:
        """Fill the form with the settings inside a dropped video. answer: the API's answer to its upload, in JSON."""
        settings = json.loads(answer)[0]["request"]
        values, missing = restore_values(settings, self.service.folders)
        return Outcome(values=values, messages=[RESTORED, *missing], look_at=first_looks.second_in(settings))

    def restore_timeline(self, text: str) -> Outcome:
        """Fill the form with what a dropped timeline says. text: the API's answer to it, in JSON."""
        values, messages = timeline_values(json.loads(text), self.service.folders)
        return Outcome(values=values, messages=messages)

    def continue_video(self, upload: str) -> Outcome:
        """Start from the last frame of a dropped video without settings."""
        file = form.find_file(upload, (self.service.folders.uploads,))
        frame = decode_untrusted_video(file, count=1, tail=True)[0]
        image = sources.upload(self.service.folders, encode_image(frame, "png"))
        return Outcome(values={"image": image}, messages=[NO_SETTINGS])

    def preset_action(self, action: str, event: dict[str, Any], values: Values) -> Outcome:
        """Handle a button of the presets."""
        presets, name = self.presets, str(event.get("name") or "")
        match action:
            case "save":
                unshared = {field: form.defaults()[field] for field in OF_ONE_VIDEO if field in values}
                if errors := form.validation_errors({**values, **unshared}):
                    raise form.FieldError(*next(iter(errors.items())))
                return Outcome(messages=[f"Saved as {presets.save(name, shared(form.json_of(values)))}."])
            case "load":
                return self.load_preset(name)
            case "rename":
                presets.rename(name, str(event.get("new") or ""))
            case "delete":
                presets.delete(name)
            case "start":
                presets.start_with(name or None)
            case "import":
                imported = presets.take_in(str(event.get("text") or ""))
                left_out = [f"{', '.join(imported.left_out)} left out: a preset has none."] if imported.left_out else []
                return Outcome(messages=[f"Imported {', '.join(imported.names)}.", *left_out])
            case _:
                raise ValueError(f"there is no button called {action!r}")
        return Outcome()

    def load_preset(self, name: str) -> Outcome:
        """The preset's settings. Settings of one video, such as its image and its prompt, stay as they are."""
        loaded, messages = restore_values(self.presets.load(name), self.service.folders)
        values = {field: value for field, value in loaded.items() if field not in OF_ONE_VIDEO}
        return Outcome(values=values, messages=[f"{name} is loaded.", *messages])

    def presets_view(self) -> views.View:
        """The list of presets, as the page shows it."""
        presets = self.presets
        shown = {"names": presets.names(), "startup": presets.startup(), "all": presets.exported()}
        return shown | {"damaged": list(presets.damaged())}

    def _with_reachable_outputs(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs with only those videos that a page can fetch. A local request may have its video in another folder."""
        folder = self.service.folders.outputs
        return [replace(job, outputs=tuple(file for file in job.outputs if file.parent == folder)) for job in jobs]

    def _is_unfinished(self, job: str) -> bool:
        try:
            return bool(job) and self.service.get(job).status in UNFINISHED
        except UnknownJob:
            return False

    def _able(self, values: Values) -> str:
        given = {"target"} if values["task"] == "bridge" else {"end"} if values["end_frame"] else set()
        return able(values["task"], values["model"], given)

    def _extend(self, job: str, values: Values) -> Outcome:
        """The form for what follows a job's video."""
        new = {"task": "extend", "image": sources.upload_video(self.service, job)}
        return Outcome(values={**new, "model": self._able({**values, **new})}, messages=[EXTENDED])

    def _move(self, job: str, by: int) -> None:
        waiting = [other.id for other in self.service.jobs(status=["queued", "paused"], limit=-1)]
        place = waiting.index(job) + 1 if job in waiting else 1  # the queue refuses a job that has started meanwhile
        self.service.move(job, max(place + by, 1))

    def _load_settings(self, job: str, message: str, *, editing: bool = False) -> Outcome:
        found = self.service.get(job)
        request, own = found.request, [lora.file for lora in found.request.loras] if editing else ()
        values, missing = restore_values(for_client(request.model_dump(mode="json")), self.service.folders, own)
        look_at, edited = first_looks.second_in(json.loads(found.request_json)), job if editing else None
        shown = Outcome(values=values, messages=[message, *missing], machine=found.machine, look_at=look_at)
        return replace(shown, editing=edited)
