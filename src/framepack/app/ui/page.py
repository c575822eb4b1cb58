"""Connects the page's events to the controller. No handler waits for a job: a timer polls it.

The state of a tab is its job's id, in the address. What is typed lives in the controls.
"""

import json
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from framepack.app.service.job_service import Service
from framepack.app.ui import batch_form, form, shortcuts, theme
from framepack.app.ui.allowlist import Allowlist
from framepack.app.ui.control_rows import always
from framepack.app.ui.controller import Controller, Outcome
from framepack.app.ui.controls import BY_FIELD, CONTROLS
from framepack.app.ui.layout import Layout
from framepack.app.ui.poll_rate import INTERVAL, PollRate
from framepack.app.ui.updates import (
    error_update,
    field_message,
    follow_model,
    form_update,
    info_update,
    mode_update,
    new_seed,
)
from framepack.app.ui.widget_types import Textbox
from framepack.pipeline.presets import Presets

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
STOPPED_EDITING = Outcome(editing="", messages=["Your form from before is back."])
Updates = dict[Any, Any]
TABS = 500
"""Tabs that Gradio keeps the state of, 150 kB each. Anyone may invent session names, so the oldest are dropped."""
IDLE = 1.0
"""Seconds between two looks of Gradio's queue. Nothing of this page is ever in it; its own 0.001 take 6% of a core."""


def mount(app: FastAPI, service: Service, presets: Path) -> FastAPI:
    """See `mount_page`."""
    page = Page(Controller(service, Presets(presets)))
    page.blocks.state_session_capacity = TABS
    page.blocks._queue.sleep_when_free = IDLE
    mounted = gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        theme=theme.theme(),
        css=theme.css(),
        head=theme.head(),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
    )
    route = mounted.routes[-1]
    assert isinstance(route, Mount)
    inputs = {number: len(handler.inputs) for number, handler in page.blocks.fns.items()}
    route.app = Allowlist(route.app, inputs, theme.head())
    return mounted


class Page:
    """Builds `blocks`."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._poll_rate = PollRate()
        with gr.Blocks(
            title="FramePack", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
        ) as blocks:
            layout = Layout(has_gpu=controller.service.has_gpu)
            self.tab, self.controls = layout.tab, layout.controls
            self._connect(blocks)
        self.blocks = blocks

    # Events

    def _connect(self, blocks: gr.Blocks) -> None:
        tab, fields = self.tab, list(self.controls.values())
        lists = [tab.viewer, tab.queue, tab.history, tab.batches]
        outputs = [tab.job, tab.search, tab.form_update, tab.notice, tab.presets, tab.first_look]
        outputs += [self.controls["seed"], *lists]
        timer = gr.Timer(INTERVAL)
        timer.tick(self._poll, [tab.job, tab.search, self.controls["model"]], [*lists, tab.advice, timer], **QUIET)
        saved = "(...values) => [FP.jobInAddress(), FP.savedForms()]"
        blocks.load(self._reporting_errors(self._load), [tab.job, tab.saved_form], outputs, js=saved, **QUIET)
        submitted = [*fields, tab.lock, tab.job, tab.editing, tab.search, tab.preserve]
        as_pressed = f"(...given) => FP.submittedForm({json.dumps(list(self.controls))}, given)"
        tab.generate.click(self._reporting_errors(self._submit), submitted, outputs, js=as_pressed, **QUIET)
        for source in lists:
            source.act(self._reporting_errors(self._job_action), [*fields, tab.job, tab.search], outputs, **QUIET)
        tab.presets.act(self._reporting_errors(self._preset_action), fields, outputs, **QUIET)
        batch = [*fields, tab.job, tab.search, tab.preserve]
        tab.batch_form.act(self._reporting_errors(self._batch_action), batch, [*outputs, tab.batch_form], **QUIET)
        tab.first_look.act(self._reporting_errors(self._first_look), batch, outputs, **QUIET)
        self.controls["image"].act(self._reporting_errors(self._video_dropped), fields, outputs, **QUIET)  # type: ignore[attr-defined]
        tab.stop_editing.click(lambda: form_update(STOPPED_EDITING), None, [tab.form_update], **QUIET)
        tab.roll_seed.click(lambda: form_update(Outcome(values={"seed": new_seed()})), None, [tab.form_update], **QUIET)
        tab.mode.input(mode_update, [tab.mode, self.controls["model"]], [tab.form_update], **QUIET)
        self.controls["seed"].input(None, None, [tab.lock], js="() => true")  # type: ignore[attr-defined]
        tab.job.change(None, [tab.job], None, js="(job) => FP.putJobInAddress(job)")
        self._connect_model()
        self._connect_validation(fields)
        self._connect_undo(fields)

    def _connect_model(self) -> None:
        """What follows from the choice of a model or a cache."""
        tab, model, cache = self.tab, self.controls["model"], self.controls["cache"]
        following = [*(self.controls[field] for field in form.MODEL_DEFAULTS), tab.model]
        model.input(follow_model, [model, *following], following, **QUIET)  # type: ignore[attr-defined]
        model.change(self.controller.advice, [model], [tab.advice], **QUIET)  # type: ignore[attr-defined]
        model.change(shortcuts.prompts_for, [model], [tab.quick_prompts], **QUIET)  # type: ignore[attr-defined]
        task = self.controls["task"]
        task.input(self._follow_task, list(self.controls.values()), [tab.form_update], **QUIET)  # type: ignore[attr-defined]
        threshold = self.controls["cache_threshold"]
        cache.input(shortcuts.threshold_for, [cache, threshold], [threshold], **QUIET)  # type: ignore[attr-defined]

    def _connect_validation(self, fields: list[Any]) -> None:
        triggers = [self.tab.lock.change, self.tab.preserve.blur]
        for field, component in self.controls.items():
            widget = BY_FIELD[field].widget
            if isinstance(component, gr.HTML):
                triggers.append(component.input)
            elif isinstance(widget, Textbox):
                triggers.append(component.blur)  # type: ignore[attr-defined]
            else:
                triggers.append(component.change)  # type: ignore[attr-defined]
        validate = self._reporting_errors(self._validate)
        gr.on(triggers, validate, fields, self._validation_outputs(), trigger_mode="always_last", **QUIET)

    def _connect_undo(self, fields: list[Any]) -> None:
        """The browser saves the form, applies updates and undoes them, so none of it needs the server."""
        tab, names = self.tab, json.dumps(list(self.controls))
        form = [*fields, tab.lock, tab.preserve, tab.editing]
        gr.on([part.change for part in form], None, form, None, js=f"(...now) => FP.saveForm({names}, now)")
        applied = tab.form_update.change(
            None,
            [tab.form_update, *form],
            [*form, tab.model, tab.generate, tab.stop_editing],
            js=f"(update, ...now) => FP.applyUpdate({names}, update, now)",
            show_progress="hidden",
        )
        applied.then(self._reporting_errors(self._validate), fields, self._validation_outputs(), **QUIET)

    # Handlers

    def _load(self, job: str, saved: str) -> Updates:
        updates = self._refresh(job, "") | {self.tab.job: job, self.tab.presets: self.controller.presets_view()}
        initial = Outcome()
        try:
            initial = self.controller.initial_form(str(saved))
        except ValueError as error:  # the page opens even if the starred preset cannot be loaded
            updates |= {self.tab.notice: error_update(error)}
        return updates | {self.tab.form_update: form_update(initial, initial=True)}

    def _poll(self, job: str, search: str, model: str, request: gr.Request) -> tuple[Any, ...]:
        interval = self._poll_rate.seconds(str(request.session_hash))
        advice = self.controller.advice(model)
        return *self._refresh(job, search).values(), advice, gr.update(value=interval)

    def _validate(self, *given: Any) -> Updates:
        values = self._values(given)
        visibility = {
            self.controls[field]: gr.update(visible=BY_FIELD[field].visible(values))
            for field in self._conditional_fields()
        }
        errors, notes = form.validation_errors(values), form.slider_notes(values)
        messages = [field_message(field, text, "error") for field, text in errors.items()]
        messages += [field_message(field, text, "info") for field, text in notes.items() if field not in errors]
        summary = "" if errors else self.controller.summary(values)
        mode = gr.update(value=shortcuts.mode_of(values), choices=shortcuts.labels_for(values["model"]))
        return visibility | {self.tab.errors: messages, self.tab.summary: summary, self.tab.mode: mode}

    def _submit(self, *given: Any) -> Updates:
        *values, lock, job, editing, search, preserve = given
        outcome = self.controller.submit(self._values(values), job, editing, preserve)
        seed = {} if lock or editing else {self.controls["seed"]: new_seed()}
        return {self.tab.notice: None, **seed, **self._outcome(outcome, job, search)}

    def _job_action(self, *given: Any, event: dict[str, Any]) -> Updates:
        *values, job, search = given
        if event.get("do") == "search":
            search = str(event.get("text") or "")
            return {self.tab.search: search, **self._refresh(job, search)}
        if event.get("do") == "keyframes":
            jobs = [str(one) for one in event.get("jobs") or ()]
            outcome = self.controller.storyboard_keyframes(str(event.get("id")), jobs, self._values(values))
            return self._outcome(outcome, job, search)
        target, place = str(event.get("id") or ""), int(event.get("place") or 0)
        outcome = self.controller.job_action(str(event.get("do")), target, place, self._values(values))
        if event.get("do") == "delete" and target == job:
            outcome.job = ""
        return self._outcome(outcome, job, search)

    def _preset_action(self, *given: Any, event: dict[str, Any]) -> Updates:
        outcome = self.controller.preset_action(str(event.get("do")), event, self._values(given))
        return {**self._updates(outcome), self.tab.presets: self.controller.presets_view()}

    def _batch_action(self, *given: Any, event: dict[str, Any]) -> Updates:
        *values, job, search, preserve = given
        if event.get("do") == "count":
            return {self.tab.batch_form: batch_form.count_view(event)}
        outcome = self.controller.submit_batch(self._values(values), batch_form.read(event), job, preserve)
        queued = batch_form.count_view(event) | {"queued": time.monotonic_ns()}
        return {**self._outcome(outcome, job, search), self.tab.batch_form: queued}

    def _first_look(self, *given: Any, event: dict[str, Any]) -> Updates:
        *values, job, search, preserve = given
        second = str(event.get("second") or "")
        outcome = self.controller.first_look(str(event.get("do")), second, self._values(values), job, preserve)
        return self._outcome(outcome, job, search)

    def _follow_task(self, *given: Any) -> Any:
        outcome = self.controller.follow_task(self._values(given))
        return form_update(outcome) if outcome.values else gr.skip()

    def _video_dropped(self, *given: Any, event: dict[str, Any]) -> Updates:
        if event.get("do") == "video":
            return self._updates(self.controller.continue_video(str(event.get("id") or "")))
        if event.get("do") == "timeline":
            return self._updates(self.controller.restore_timeline(str(event.get("answer") or "")))
        return self._updates(self.controller.restore_dropped(str(event.get("answer") or "")))

    # Updates

    def _values(self, given: Any) -> dict[str, Any]:
        return dict(zip(self.controls, given, strict=False))

    def _conditional_fields(self) -> list[str]:
        return [control.field for control in CONTROLS if control.visible is not always]

    def _refresh(self, job: str, search: str) -> Updates:
        lists = (self.tab.viewer, self.tab.queue, self.tab.history, self.tab.batches)
        return dict(zip(lists, (*self.controller.refresh(job, search), self.controller.batches()), strict=True))

    def _validation_outputs(self) -> list[Any]:
        conditional = [self.controls[field] for field in self._conditional_fields()]
        return [*conditional, self.tab.errors, self.tab.summary, self.tab.mode, self.tab.notice]

    def _outcome(self, outcome: Outcome, job: str, search: str) -> Updates:
        """The outcome's updates, and the lists of its job or else the tab's."""
        shown = job if outcome.job is None else outcome.job
        return {**self._refresh(shown, search), **self._updates(outcome)}

    def _updates(self, outcome: Outcome) -> Updates:
        updates: Updates = {} if outcome.job is None else {self.tab.job: outcome.job}
        if outcome.look_at is not None:
            updates |= {self.tab.first_look: outcome.look_at}
        if outcome.values or outcome.edit_lost or outcome.editing is not None:
            return updates | {self.tab.form_update: form_update(outcome)}
        return updates | ({self.tab.notice: info_update(outcome.text)} if outcome.messages else {})

    def _reporting_errors(self, handler: Callable[..., Updates]) -> Callable[..., Updates]:
        """The handler, with every exception shown as a notice on the page."""
        with_events = (self._job_action, self._preset_action, self._batch_action, self._first_look, self._video_dropped)
        wants_event = handler in with_events

        @wraps(handler)
        def reporting(*given: Any, **event: Any) -> Updates:
            try:
                return handler(*given, **event)
            except Exception as error:  # noqa: BLE001 - the user has to see any error
                return {self.tab.notice: error_update(error)}

        def reporting_with_event(event: gr.EventData, *given: Any) -> Updates:
            return reporting(*given, event=dict(event._data or {}))

        return reporting_with_event if wants_event else reporting
