"""Lays the page out and ties its events to the desk. Nothing here waits for a job: a timer looks at it.

State of a tab is the id of its job, which stands in the address; what is typed lives in the controls.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.components import Component
from pydantic import ValidationError

from framepack.app.service import Service
from framepack.app.ui import form, theme, views
from framepack.app.ui.controls import BY_FIELD, CONTROLS, Place, always
from framepack.app.ui.desk import Desk, Outcome, trouble
from framepack.app.ui.kinds import Text
from framepack.app.ui.presets import Presets
from framepack.app.ui.widgets import build, element_id, filled, panel

QUICK = (
    "The camera pans left.",
    "The camera tilts up.",
    "Night falls.",
    "The sun rises.",
    "The girl dances gracefully, with clear movements, full of charm.",
    "The man turns around, smiles and waves at the camera.",
)
"""The first four are what the bundled model does best; the others need a 13 B model."""
LOOK = 1.0
"""Seconds between looks at the service."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
Updates = dict[Any, Any]


def mount(app: FastAPI, service: Service, presets: Path) -> FastAPI:
    """See `mount_page`."""
    page = Page(Desk(service, Presets(presets)))
    return gr.mount_gradio_app(
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
        max_file_size="64mb",
    )


@dataclass
class Tab:
    """The components that belong to a tab and not to a field."""

    job: gr.Textbox
    editing: gr.Textbox
    search: gr.Textbox
    lock: gr.Checkbox
    notice: gr.HTML
    marks: gr.HTML
    summary: gr.HTML
    stage: gr.HTML
    queue: gr.HTML
    history: gr.HTML
    presets: gr.HTML
    generate: gr.Button
    leave: gr.Button
    dice: gr.Button


class Page:
    """Builds `blocks`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.controls: dict[str, Component] = {}
        with gr.Blocks(
            title="FramePack", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
        ) as blocks:
            self.tab = self._lay_out()
            self._tie(blocks)
        self.blocks = blocks

    # Layout

    def _lay_out(self) -> Tab:
        panel("header")
        notice = panel("notice", elem_id="fp-notice")
        marks = panel("marks", elem_id="fp-marks")
        job, editing, search = (
            gr.Textbox("", visible="hidden", elem_id=f"fp-{name}") for name in ("job", "edited", "find")
        )
        with gr.Row(elem_id="fp-main", equal_height=False):
            with gr.Column(elem_id="fp-left", min_width=320, scale=4):
                self._place("picture")
                self._place("prompt")
                panel("chips", QUICK)
                with gr.Row(elem_id="fp-go"):
                    generate = gr.Button("Generate", variant="primary", elem_id="fp-generate")
                    leave = gr.Button("Stop editing", visible=False, min_width=120)
                summary = panel("text", elem_id="fp-summary")
                with gr.Accordion("Pictures and sentences on the way", open=False, elem_classes="fp-fold"):
                    self._place("along")
                with gr.Column(elem_classes="fp-group"):
                    dice, lock = self._video()
                with gr.Accordion("Advanced", open=False, elem_classes="fp-fold"):
                    self._place("advanced")
                with gr.Accordion("Presets", open=False, elem_classes="fp-fold"):
                    presets = panel("presets", elem_id="fp-presets")
            with gr.Column(elem_id="fp-right", min_width=320, scale=7):
                stage = panel("stage", views.stage(None), elem_id="fp-stage")
                queue = panel("queue", [], elem_id="fp-queue")
        history = panel("history", [], elem_id="fp-history")
        return Tab(
            job, editing, search, lock, notice, marks, summary, stage, queue, history, presets, generate, leave, dice
        )

    def _place(self, place: Place) -> None:
        for control in CONTROLS:
            if control.place == place:
                self._put(control.field)

    def _put(self, field: str) -> None:
        self.controls[field] = build(BY_FIELD[field], self.desk.loras)

    def _video(self) -> tuple[gr.Button, gr.Checkbox]:
        self._put("model")
        self._put("seconds")
        with gr.Row(elem_id="fp-seed", elem_classes="fp-split"):
            self._put("seed")
            dice = gr.Button("Roll", min_width=72, scale=0, elem_id="fp-dice")
            lock = gr.Checkbox(False, label="Keep this seed", min_width=130, container=False, elem_id="fp-lock")
        self._put("steps")
        self._put("guidance")
        with gr.Row(elem_id="fp-size", elem_classes="fp-split"):
            for field in ("resolution", "width", "height"):
                self._put(field)
        for control in CONTROLS:
            if control.place == "video" and control.field not in self.controls:
                self._put(control.field)
        return dice, lock

    # Events

    def _tie(self, blocks: gr.Blocks) -> None:
        tab, fields = self.tab, list(self.controls.values())
        lists = [tab.stage, tab.queue, tab.history]
        everything = [*fields, tab.job, tab.editing, tab.notice, tab.presets, tab.marks, tab.summary, tab.search]
        changing = [*everything, tab.generate, tab.leave, *lists]
        gr.Timer(LOOK).tick(self.desk.look, [tab.job, tab.search], lists, **QUIET)
        recall = "(...values) => [...values.slice(0, -1), FP.recall()]"
        blocks.load(self._spoken(self._load), [*fields, tab.job], changing, js=recall, **QUIET)
        asked = [*fields, tab.lock, tab.job, tab.editing, tab.search]
        tab.generate.click(self._spoken(self._submit), asked, changing, **QUIET)
        for source in (tab.stage, tab.queue, tab.history):
            source.act(self._spoken(self._act), [*fields, tab.job, tab.search], changing, **QUIET)
        tab.presets.act(self._spoken(self._preset), fields, changing, **QUIET)
        self.controls["image"].act(self._spoken(self._hand_in), fields, changing, **QUIET)  # type: ignore[attr-defined]
        tab.leave.click(lambda: self._editing(""), None, [tab.editing, tab.generate, tab.leave], **QUIET)
        tab.dice.click(new_seed, None, [self.controls["seed"]], **QUIET)
        tab.job.change(None, [tab.job], None, js="(job) => FP.remember(job)")
        self._tie_checks(fields)

    def _tie_checks(self, fields: list[Any]) -> None:
        triggers = []
        for field, component in self.controls.items():
            widget = BY_FIELD[field].widget
            if isinstance(component, gr.HTML):
                triggers.append(component.input)
            elif isinstance(widget, Text):
                triggers.append(component.blur)  # type: ignore[attr-defined]
            else:
                triggers.append(component.change)  # type: ignore[attr-defined]
        ruled = [self.controls[field] for field in self._ruled()]
        outputs = [*ruled, self.tab.marks, self.tab.summary]
        gr.on(triggers, self._check, fields, outputs, trigger_mode="always_last", **QUIET)

    # Handlers

    def _load(self, *given: Any) -> Updates:
        *_, job = given
        updates = self._looks(job, "") | {self.tab.job: job, self.tab.presets: self.desk.presets_view()}
        if start := self.desk.presets.startup():
            return updates | self._updates(self.desk.with_preset(start, form.defaults()))
        return updates | self._marks(form.defaults())

    def _check(self, *given: Any) -> Updates:
        return self._checked(self._values(given))

    def _submit(self, *given: Any) -> Updates:
        *values, lock, job, editing, search = given
        found = self._values(values)
        outcome = self.desk.submit(found, job, editing)
        seed = {} if lock or editing else {self.controls["seed"]: new_seed()}
        clear = {self.tab.notice: None} if not outcome.said else {}
        shown = job if outcome.job is None else outcome.job
        return {**clear, **seed, **self._looks(shown, search), **self._updates(outcome)}

    def _act(self, *given: Any, event: dict[str, Any]) -> Updates:
        *values, job, search = given
        if event.get("do") == "search":
            search = str(event.get("text") or "")
            return {self.tab.search: search, **self._looks(job, search)}
        target, place = str(event.get("id") or ""), int(event.get("place") or 0)
        outcome = self.desk.act(str(event.get("do")), target, place, self._values(values))
        if event.get("do") == "delete" and target == job:
            outcome.job = ""
        shown = job if outcome.job is None else outcome.job
        return {**self._looks(shown, search), **self._updates(outcome)}

    def _preset(self, *given: Any, event: dict[str, Any]) -> Updates:
        outcome = self.desk.preset(str(event.get("do")), event, self._values(given))
        return {**self._updates(outcome), self.tab.presets: self.desk.presets_view()}

    def _hand_in(self, *given: Any, event: dict[str, Any]) -> Updates:
        if event.get("do") == "video":
            return self._updates(self.desk.video(str(event.get("id") or "")))
        return self._updates(self.desk.dropped(str(event.get("said") or "")))

    # Updates

    def _values(self, given: Any) -> dict[str, Any]:
        return dict(zip(self.controls, given, strict=False))

    def _ruled(self) -> list[str]:
        return [control.field for control in CONTROLS if control.shown is not always]

    def _looks(self, job: str, search: str) -> Updates:
        return dict(zip((self.tab.stage, self.tab.queue, self.tab.history), self.desk.look(job, search), strict=True))

    def _updates(self, outcome: Outcome) -> Updates:
        updates: Updates = {}
        if outcome.values is not None:
            for field, value in outcome.values.items():
                shown = BY_FIELD[field].shown(outcome.values)
                updates[self.controls[field]] = filled(BY_FIELD[field], value, shown)
            updates |= self._marks(outcome.values)
        if outcome.picture is not None:
            updates[self.controls["image"]] = outcome.picture
        if outcome.job is not None:
            updates[self.tab.job] = outcome.job
        if outcome.editing is not None:
            updates |= self._editing(outcome.editing)
        if outcome.notice:
            updates[self.tab.notice] = outcome.notice
        return updates

    def _editing(self, job: str) -> Updates:
        label = "Save changes" if job else "Generate"
        return {
            self.tab.editing: job,
            self.tab.generate: gr.update(value=label),
            self.tab.leave: gr.update(visible=bool(job)),
        }

    def _checked(self, values: dict[str, Any]) -> Updates:
        updates = {self.controls[f]: gr.update(visible=BY_FIELD[f].shown(values)) for f in self._ruled()}
        return updates | self._marks(values)

    def _marks(self, values: dict[str, Any]) -> Updates:
        wrong = form.findings(values)
        marks = {element_id(field) if field else "fp-summary": sentence for field, sentence in wrong.items()}
        line = ""
        with suppress(ValidationError):
            line = views.summary(form.draft(values))
        return {self.tab.marks: marks, self.tab.summary: line}

    def _spoken(self, handler: Callable[..., Updates]) -> Callable[..., Updates]:
        """The handler, with errors said on the page; the page stays alive whatever happens."""
        wants_event = handler in (self._act, self._preset, self._hand_in)

        @wraps(handler)
        def speaking(*given: Any) -> Updates:
            try:
                return handler(*given)
            except Exception as error:  # noqa: BLE001 - whatever it is, the person at the page has to hear of it
                return {self.tab.notice: trouble(error)}

        def speaking_of(event: gr.EventData, *given: Any) -> Updates:
            try:
                return handler(*given, event=dict(event._data or {}))
            except Exception as error:  # noqa: BLE001 - as above
                return {self.tab.notice: trouble(error)}

        return speaking_of if wants_event else speaking


def new_seed() -> str:
    """Another seed, short enough to be read aloud."""
    return str(secrets.randbelow(2**32))
