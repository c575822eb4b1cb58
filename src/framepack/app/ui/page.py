"""Ties the page's events to the desk. Nothing here waits for a job: a timer looks at it.

State of a tab is the id of its job, which stands in the address; what is typed lives in the controls.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from framepack.app.machine import preserved
from framepack.app.service import Service
from framepack.app.ui import form, shortcuts, theme, views
from framepack.app.ui.controls import BY_FIELD, CONTROLS, always
from framepack.app.ui.desk import Desk, Outcome, trouble
from framepack.app.ui.kinds import Text
from framepack.app.ui.layout import Layout
from framepack.app.ui.presets import Presets
from framepack.app.ui.widgets import element_id, filled

LOOK = 1.0
"""Seconds between looks at the service."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
MOVED = tuple(shortcuts.MODES["best"])
"""Fields a quality mode moves."""
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


class Page:
    """Builds `blocks`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
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
        lists = [tab.stage, tab.queue, tab.history]
        beside = [tab.job, tab.editing, tab.search, tab.model, tab.mode, tab.preserve]
        changing = [*fields, *beside, tab.notice, tab.presets, tab.marks, tab.summary, tab.generate, tab.leave, *lists]
        watched = [tab.job, tab.search, self.controls["model"]]
        gr.Timer(LOOK).tick(self._look, watched, [*lists, tab.advice], **QUIET)
        recall = "(...values) => [...values.slice(0, -2), FP.recall(), FP.kept()]"
        blocks.load(self._spoken(self._load), [*fields, tab.job, tab.kept], [*changing, tab.lock], js=recall, **QUIET)
        asked = [*fields, tab.lock, tab.job, tab.editing, tab.search, tab.preserve]
        tab.generate.click(self._spoken(self._submit), asked, changing, **QUIET)
        for source in (tab.stage, tab.queue, tab.history):
            source.act(self._spoken(self._act), [*fields, tab.job, tab.search], changing, **QUIET)
        tab.presets.act(self._spoken(self._preset), fields, changing, **QUIET)
        self.controls["image"].act(self._spoken(self._hand_in), fields, changing, **QUIET)  # type: ignore[attr-defined]
        tab.leave.click(lambda: self._editing(""), None, [tab.editing, tab.generate, tab.leave], **QUIET)
        tab.dice.click(new_seed, None, [self.controls["seed"]], **QUIET)
        tab.mode.input(self._mode, [*fields, tab.mode], [*(self.controls[key] for key in MOVED), tab.mode], **QUIET)
        lengths = [self.controls["model"], self.controls["seconds"], tab.model]
        self.controls["model"].input(self._follow, lengths, lengths[1:], **QUIET)  # type: ignore[attr-defined]
        thresholds = [self.controls["cache"], self.controls["cache_threshold"]]
        self.controls["cache"].input(shortcuts.threshold_for, thresholds, thresholds[1:], **QUIET)  # type: ignore[attr-defined]
        self.controls["model"].change(self.desk.advice, watched[-1:], [tab.advice], **QUIET)  # type: ignore[attr-defined]
        self.controls["model"].change(shortcuts.prompts_for, watched[-1:], [tab.quick], **QUIET)  # type: ignore[attr-defined]
        tab.job.change(None, [tab.job], None, js="(job) => FP.remember(job)")
        tab.kept.change(None, [tab.kept], None, js="(form) => FP.keep(form)")
        self._tie_checks(fields)

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
        ruled = [self.controls[field] for field in self._ruled()]
        outputs = [*ruled, self.tab.marks, self.tab.summary, self.tab.mode, self.tab.kept]
        asked = [*fields, self.tab.lock, self.tab.preserve]
        gr.on(triggers, self._check, asked, outputs, trigger_mode="always_last", **QUIET)

    # Handlers

    def _load(self, *given: Any) -> Updates:
        *_, job, kept = given
        updates = self._looks(job, "") | {self.tab.job: job, self.tab.presets: self.desk.presets_view()}
        updates[self.tab.model] = form.defaults()["model"]
        try:
            if begun := self.desk.begun(str(kept)):
                return updates | self._updates(begun)
        except ValueError as error:  # a preset from elsewhere or of another version must not take the page along
            updates[self.tab.notice] = trouble(error)
        return updates | self._marks(form.defaults())

    def _look(self, job: str, search: str, model: str) -> tuple[Any, ...]:
        return *self.desk.look(job, search), self.desk.advice(model)

    def _check(self, *given: Any) -> Updates:
        *fields, lock, preserve = given
        values = self._values(fields)
        updates = self._checked(values)
        if not updates[self.tab.marks]:
            updates[self.tab.kept] = form.kept(values, lock=lock, preserve=preserve)
        return updates

    def _mode(self, *given: Any) -> Updates:
        *values, mode = given
        found = self._values(values) | shortcuts.MODES.get(mode, {})
        return {**{self.controls[key]: found[key] for key in MOVED}, self.tab.mode: shortcuts.mode_of(found)}

    def _follow(self, model: str, seconds: float, before: str) -> tuple[float, str]:
        usual = form.first_length(before or model)
        return (form.first_length(model) if seconds == usual else seconds), model

    def _submit(self, *given: Any) -> Updates:
        *values, lock, job, editing, search, preserve = given
        found = self._values(values)
        outcome = self.desk.submit(found, job, editing, preserve)
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
            updates[self.tab.model] = outcome.values["model"]
        if outcome.machine is not None:
            updates[self.tab.preserve] = preserved(outcome.machine)
        if outcome.beside is not None:
            updates[self.tab.lock], updates[self.tab.preserve] = outcome.beside
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
        with suppress(ValueError):
            line = views.summary(form.draft(values))
        return {self.tab.marks: marks, self.tab.summary: line, self.tab.mode: shortcuts.mode_of(values)}

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
