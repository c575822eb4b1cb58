"""Gradio components for the table of controls, and custom ones: drop zone, number, rows, panel.

A custom component is a `gr.HTML` with a constant template. Its script in `static/` draws the value and sets it.
"""

import json
from typing import Any, assert_never

import gradio as gr
from gradio.components import Component

from framepack.app.ui.controls import Control
from framepack.app.ui.form import MODEL_DEFAULTS, defaults, model_default
from framepack.app.ui.widget_types import Checkbox, Choice, Dropdown, Image, Integer, Number, Rows, Slider, Textbox
from framepack.spec.variants import VARIANTS

DRAW = "FP.mount('{kind}', {config}, element, props, trigger, watch, ['act', 'input'])"
"""The script of a custom component. It names the component's events, because Gradio looks for them in this text."""


def panel(kind: str, value: Any = None, *, elem_id: str | None = None, visible: bool = True, **config: Any) -> gr.HTML:
    """A custom component that draws `value`, plain data, with `FP.kinds[kind]` of the scripts, which gets `config`.

    Events: `act` (a button was pressed), `input` (the user changed the value).
    """
    return gr.HTML(
        value,
        html_template="<div class='fp-root'></div>",
        js_on_load=DRAW.format(kind=kind, config=json.dumps(config)),
        apply_default_css=False,
        visible=visible,
        elem_id=elem_id,
    )


def build(control: Control) -> Component:
    """The component of a control."""
    value = defaults()[control.field]
    name: dict[str, Any] = {"label": control.label, "elem_id": element_id(control.field)}
    texts: dict[str, Any] = {**name, "info": control.help}
    own: dict[str, Any] = {**name, "field": control.field, "help": control.help}
    visible = control.visible(defaults())
    match control.widget:
        case Image() as image:
            return panel("image", value, visible=visible, **vars(image), **own)
        case Choice(choices=choices):
            return panel("choice", value, choices=choices, **own)
        case Rows() as rows:
            more = vars(rows) | {"columns": [vars(column) for column in rows.columns]}
            return panel("rows", value, visible=visible, **more, **own)
        case Textbox(lines=lines, placeholder=placeholder):
            return gr.Textbox(value, lines=lines, max_lines=12, placeholder=placeholder, visible=visible, **texts)
        case Integer(placeholder=placeholder):
            empty = placeholder or str(value)
            return gr.Textbox(value, max_lines=1, placeholder=empty, min_width=100, visible=visible, **texts)
        case Number():
            return panel("number", value, visible=visible, start=value, **own)
        case Slider() as slide:
            follows = control.field in MODEL_DEFAULTS
            start = {model: model_default(model, control.field) for model in VARIANTS} if follows else value
            return panel("number", value, visible=visible, start=start, **vars(slide), **own)
        case Dropdown(choices=choices):
            return gr.Dropdown(list(choices), value=value, filterable=False, min_width=220, visible=visible, **texts)
        case Checkbox():
            return gr.Checkbox(value, visible=visible, **texts)
    assert_never(control.widget)


def element_id(field: str) -> str:
    """The id of a control's element."""
    return f"c-{field.replace('.', '-').replace('_', '-')}"
