"""Updates of components: forms that the browser puts in, notices, messages at fields."""

import secrets
import time
from typing import Any

import gradio as gr

from framepack.app.machine import preserved
from framepack.app.ui import form, shortcuts
from framepack.app.ui.components import element_id
from framepack.app.ui.controller import Outcome
from framepack.app.ui.notices import error_notice


def form_update(outcome: Outcome, *, initial: bool = False) -> dict[str, Any]:
    """New values that the browser puts into the form. With `initial` there is nothing to undo. `new` is unique."""
    update: dict[str, Any] = {
        "values": outcome.values,
        "editing": outcome.editing,
        "edit_lost": outcome.edit_lost,
        "initial": initial,
        "text": outcome.text,
        "new": time.monotonic_ns(),
    }
    if outcome.machine is not None:
        update["preserve"] = preserved(outcome.machine)
    return update | (outcome.extras._asdict() if outcome.extras else {})


def info_update(text: str) -> dict[str, Any]:
    """A notice. `new` is unique, so that the same text is shown again after it has been closed."""
    return {"tone": "info", "text": text, "new": time.monotonic_ns()}


def error_update(error: Exception) -> dict[str, Any]:
    """See `error_notice`. The field that it names becomes its element's id."""
    notice = error_notice(error)
    field = {"field": element_id(notice["field"])} if notice.get("field") else {}
    return notice | field | {"new": time.monotonic_ns()}


def field_message(field: str, text: str, tone: str) -> dict[str, str]:
    """A message at its field, or below the button where it is about several."""
    return {"id": element_id(field) if field else "fp-summary", "text": text, "tone": tone}


def mode_update(name: str, model: str) -> dict[str, Any]:
    """The values that a quality mode sets; none for the custom mode."""
    return form_update(Outcome(values=shortcuts.modes_of(model).get(name, {})))


def follow_model(model: str, *now: Any) -> tuple[Any, ...]:
    """The new model's defaults for values that were the old model's defaults, and the new model.

    The last of `now` is the old model.
    """
    *values, before = now
    pairs = zip(form.MODEL_DEFAULTS, values, strict=True)
    unchanged = {field for field, value in pairs if value in ("", form.model_default(before or model, field))}
    new = (form.model_default(model, field) if field in unchanged else gr.skip() for field in form.MODEL_DEFAULTS)
    return *new, model


def new_seed() -> str:
    """A random seed, short enough to be read aloud."""
    return str(secrets.randbelow(2**32))
