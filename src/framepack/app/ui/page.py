"""Ties the page's events to the desk. Nothing here waits for a job: a timer looks at it.

State of a tab is the id of its job, which stands in the address; what is typed lives in the controls.
"""

import json
import secrets
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from framepack.app.machine import preserved
from framepack.app.service.job_service import Service
from framepack.app.ui import form, many, shortcuts, theme
from framepack.app.ui.controls import BY_FIELD, CONTROLS, always
from framepack.app.ui.desk import Desk, Outcome, trouble
from framepack.app.ui.gate import Gate
from framepack.app.ui.kinds import Text
from framepack.app.ui.layout import Layout
from framepack.app.ui.pace import LOOK, Pace
from framepack.app.ui.widgets import element_id
from framepack.pipeline.presets import Presets

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
LEFT = Outcome(editing="", said=["What was in the form before is back."])
Updates = dict[Any, Any]
TABS = 500
"""Tabs that Gradio remembers, 150 kB each; anyone who asks may invent more, and the oldest begin anew."""


def mount(app: FastAPI, service: Service, presets: Path) -> FastAPI:
    """See `mount_page`."""
    page = Page(Desk(service, Presets(presets)))
    page.blocks.state_session_capacity = TABS
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
    route.app = Gate(route.app, inputs, theme.head())
    return mounted


class Page:
    """Builds `blocks`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._pace = Pace()
        with gr.Blocks(
            title="FramePack", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
        ) as blocks:
            layout = Layout(has_gpu=desk.service.has_gpu)
            self.tab, self.controls = layout.tab, layout.controls
            self._tie(blocks)
        self.blocks = blocks

    # Events

    def _tie(self, blocks: gr.Blocks) -> None:
        tab, fields = self.tab, list(self.controls.values())
        lists = [tab.stage, tab.queue, tab.history, tab.batches]
        changing = [tab.job, tab.search, tab.memory, tab.notice, tab.presets, self.controls["seed"], *lists]
        watched = [tab.job, tab.search, self.controls["model"]]
        timer = gr.Timer(LOOK)
        timer.tick(self._look, watched, [*lists, tab.advice, timer], **QUIET)
        recall = "(...values) => [FP.recall(), FP.kept()]"
        blocks.load(self._spoken(self._load), [tab.job, tab.kept], changing, js=recall, **QUIET)
        asked = [*fields, tab.lock, tab.job, tab.editing, tab.search, tab.preserve]
        pressed = f"(...given) => FP.asked({json.dumps(list(self.controls))}, given)"
        tab.generate.click(self._spoken(self._submit), asked, changing, js=pressed, **QUIET)
        for source in lists:
            source.act(self._spoken(self._act), [*fields, tab.job, tab.search], changing, **QUIET)
        tab.presets.act(self._spoken(self._preset), fields, changing, **QUIET)
        begun = [*fields, tab.job, tab.search, tab.preserve]
        tab.many.act(self._spoken(self._many), begun, [*changing, tab.many], **QUIET)
        self.controls["image"].act(self._spoken(self._hand_in), fields, changing, **QUIET)  # type: ignore[attr-defined]
        tab.leave.click(lambda: replacing(LEFT), None, [tab.memory], **QUIET)
        tab.dice.click(lambda: replacing(Outcome(values={"seed": new_seed()})), None, [tab.memory], **QUIET)
        tab.mode.input(mode, [tab.mode, self.controls["model"]], [tab.memory], **QUIET)
        own = [self.controls["model"], *(self.controls[field] for field in form.FOLLOWING), tab.model]
        self.controls["model"].input(follow, own, own[1:], **QUIET)  # type: ignore[attr-defined]
        thresholds = [self.controls["cache"], self.controls["cache_threshold"]]
        self.controls["cache"].input(shortcuts.threshold_for, thresholds, thresholds[1:], **QUIET)  # type: ignore[attr-defined]
        self.controls["model"].change(self.desk.advice, watched[-1:], [tab.advice], **QUIET)  # type: ignore[attr-defined]
        self.controls["model"].change(shortcuts.prompts_for, watched[-1:], [tab.quick], **QUIET)  # type: ignore[attr-defined]
        self.controls["seed"].input(None, None, [tab.lock], js="() => true")  # type: ignore[attr-defined]
        tab.job.change(None, [tab.job], None, js="(job) => FP.remember(job)")
        self._tie_checks(fields)
        self._tie_memory(fields)

    def _tie_checks(self, fields: list[Any]) -> None:
        triggers = [self.tab.lock.change, self.tab.preserve.blur]
        for field, component in self.controls.items():
            widget = BY_FIELD[field].widget
            if isinstance(component, gr.HTML):
                triggers.append(component.input)
            elif isinstance(widget, Text):
                triggers.append(component.blur)  # type: ignore[attr-defined]
            else:
                triggers.append(component.change)  # type: ignore[attr-defined]
        gr.on(triggers, self._spoken(self._check), fields, self._checks(), trigger_mode="always_last", **QUIET)

    def _tie_memory(self, fields: list[Any]) -> None:
        """The form is kept, replaced and taken back in the browser, so that no server has to answer for it."""
        tab, names = self.tab, json.dumps(list(self.controls))
        form = [*fields, tab.lock, tab.preserve, tab.editing]
        gr.on([part.change for part in form], None, form, None, js=f"(...now) => FP.keep({names}, now)")
        replaced = tab.memory.change(
            None,
            [tab.memory, *form],
            [*form, tab.model, tab.generate, tab.leave],
            js=f"(said, ...now) => FP.apply({names}, said, now)",
        )
        replaced.then(self._spoken(self._check), fields, self._checks(), **QUIET)

    # Handlers

    def _load(self, job: str, kept: str) -> Updates:
        updates = self._looks(job, "") | {self.tab.job: job, self.tab.presets: self.desk.presets_view()}
        begun = Outcome()
        try:
            begun = self.desk.begun(str(kept))
        except ValueError as error:  # a preset from elsewhere or of another version must not take the page along
            updates[self.tab.notice] = spoken(error)
        return updates | {self.tab.memory: replacing(begun, begin=True)}

    def _look(self, job: str, search: str, model: str, request: gr.Request) -> tuple[Any, ...]:
        again = self._pace.seconds(str(request.session_hash))
        return *self._looks(job, search).values(), self.desk.advice(model), gr.update(value=again)

    def _check(self, *given: Any) -> Updates:
        values = self._values(given)
        ruled = {self.controls[f]: gr.update(visible=BY_FIELD[f].shown(values)) for f in self._ruled()}
        wrong, doubts = form.findings(values), form.beyond(values)
        marks = [mark(field, sentence, "wrong") for field, sentence in wrong.items()]
        marks += [mark(field, sentence, "told") for field, sentence in doubts.items() if field not in wrong]
        line = "" if wrong else self.desk.summary(values)
        mode = gr.update(value=shortcuts.mode_of(values), choices=shortcuts.labels_for(values["model"]))
        return ruled | {self.tab.marks: marks, self.tab.summary: line, self.tab.mode: mode}

    def _submit(self, *given: Any) -> Updates:
        *values, lock, job, editing, search, preserve = given
        outcome = self.desk.submit(self._values(values), job, editing, preserve)
        seed = {} if lock or editing else {self.controls["seed"]: new_seed()}
        shown = job if outcome.job is None else outcome.job
        return {self.tab.notice: None, **seed, **self._looks(shown, search), **self._updates(outcome)}

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

    def _many(self, *given: Any, event: dict[str, Any]) -> Updates:
        *values, job, search, preserve = given
        if event.get("do") == "count":
            return {self.tab.many: many.counted(event)}
        outcome = self.desk.make_many(self._values(values), many.read(event), job, preserve)
        shown = job if outcome.job is None else outcome.job
        made = {self.tab.many: many.counted(event) | {"made": time.monotonic_ns()}}
        return {**self._looks(shown, search), **self._updates(outcome), **made}

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
        places = (self.tab.stage, self.tab.queue, self.tab.history, self.tab.batches)
        return dict(zip(places, (*self.desk.look(job, search), self.desk.batches()), strict=True))

    def _checks(self) -> list[Any]:
        return [
            *(self.controls[f] for f in self._ruled()),
            self.tab.marks,
            self.tab.summary,
            self.tab.mode,
            self.tab.notice,
        ]

    def _updates(self, outcome: Outcome) -> Updates:
        updates: Updates = {} if outcome.job is None else {self.tab.job: outcome.job}
        if outcome.values or outcome.loose or outcome.editing is not None:
            return updates | {self.tab.memory: replacing(outcome)}
        return updates | ({self.tab.notice: told(outcome.text)} if outcome.said else {})

    def _spoken(self, handler: Callable[..., Updates]) -> Callable[..., Updates]:
        """The handler, with errors said on the page; the page stays alive whatever happens."""
        wants_event = handler in (self._act, self._preset, self._many, self._hand_in)

        @wraps(handler)
        def speaking(*given: Any) -> Updates:
            try:
                return handler(*given)
            except Exception as error:  # noqa: BLE001 - whatever it is, the person at the page has to hear of it
                return {self.tab.notice: spoken(error)}

        def speaking_of(event: gr.EventData, *given: Any) -> Updates:
            try:
                return handler(*given, event=dict(event._data or {}))
            except Exception as error:  # noqa: BLE001 - as above
                return {self.tab.notice: spoken(error)}

        return speaking_of if wants_event else speaking


def replacing(outcome: Outcome, *, begin: bool = False) -> dict[str, Any]:
    """What the browser puts into the form; with `begin` there is nothing yet to take back. New each time."""
    said: dict[str, Any] = {"values": outcome.values, "editing": outcome.editing, "loose": outcome.loose}
    if outcome.machine is not None:
        said["preserve"] = preserved(outcome.machine)
    if outcome.beside is not None:
        said["lock"], said["preserve"] = outcome.beside
    return said | {"begin": begin, "text": outcome.text, "new": time.monotonic_ns()}


def told(text: str) -> dict[str, Any]:
    """A line that speaks, and speaks again where it has been closed."""
    return {"tone": "told", "text": text, "new": time.monotonic_ns()}


def spoken(error: Exception) -> dict[str, Any]:
    """See `trouble`; the field it names is the element's id."""
    said = trouble(error)
    where = {"field": element_id(said["field"])} if said.get("field") else {}
    return said | where | {"new": time.monotonic_ns()}


def mark(field: str, sentence: str, tone: str) -> dict[str, str]:
    """A sentence at its field; below the button where it is about several."""
    return {"id": element_id(field) if field else "fp-summary", "text": sentence, "tone": tone}


def mode(name: str, model: str) -> dict[str, Any]:
    """What a quality mode moves; nothing where it is "my own"."""
    return replacing(Outcome(values=shortcuts.modes_of(model).get(name, {})))


def follow(model: str, *now: Any) -> tuple[Any, ...]:
    """The numbers that follow from the model, and it: those that nobody has chosen are its own. The last is before."""
    *numbers, before = now
    pairs = zip(form.FOLLOWING, numbers, strict=True)
    usual = [value in ("", form.first(before or model, field)) for field, value in pairs]
    own = [form.first(model, field) if old else gr.skip() for field, old in zip(form.FOLLOWING, usual, strict=True)]
    return *own, model


def new_seed() -> str:
    """Another seed, short enough to be read aloud."""
    return str(secrets.randbelow(2**32))
