"""Gradio components for the table of controls, and those of our own: drop zone, number, rows, panel.

A component of ours is a `gr.HTML` whose template never changes: its script in `static/` draws the value and sets it.
"""

import json
from typing import Any, assert_never

import gradio as gr
from gradio.components import Component

from framepack.app.ui.controls import Control
from framepack.app.ui.form import FOLLOWING, defaults, first
from framepack.app.ui.kinds import Choice, Number, Picture, Rows, Slide, Switch, Text, Whole
from framepack.spec.variants import VARIANTS

DRAW = "FP.mount('{kind}', {config}, element, props, trigger, watch, ['act', 'input'])"
"""The script of each component of ours. It names the events the component has: Gradio looks for them here."""


def panel(kind: str, value: Any = None, *, elem_id: str | None = None, visible: bool = True, **config: Any) -> gr.HTML:
    """Draws `value`, plain data, with the scripts' part called `kind`, which is told `config`.

    Events: `act` (a button was pressed), `input` (someone changed the value).
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
    """The component of a row of the table."""
    value = defaults()[control.field]
    name: dict[str, Any] = {"label": control.label, "elem_id": element_id(control.field)}
    told: dict[str, Any] = {**name, "info": control.help}
    own: dict[str, Any] = {**name, "field": control.field, "help": control.help}
    visible = control.shown(defaults())
    match control.widget:
        case Picture():
            return panel("picture", value, **own)
        case Rows() as rows:
            more = vars(rows) | {"columns": [vars(column) for column in rows.columns]}
            return panel("rows", value, visible=visible, **more, **own)
        case Text(lines=lines, placeholder=placeholder):
            return gr.Textbox(value, lines=lines, max_lines=12, placeholder=placeholder, visible=visible, **told)
        case Whole(placeholder=placeholder):
            empty = placeholder or str(value)
            return gr.Textbox(value, max_lines=1, placeholder=empty, min_width=100, visible=visible, **told)
        case Number():
            return panel("number", value, visible=visible, start=value, **own)
        case Slide() as slide:
            follows = control.field in FOLLOWING
            start = {model: first(model, control.field) for model in VARIANTS} if follows else value
            return panel("number", value, visible=visible, start=start, **vars(slide), **own)
        case Choice(choices=choices):
            return gr.Dropdown(list(choices), value=value, filterable=False, min_width=220, visible=visible, **told)
        case Switch():
            return gr.Checkbox(value, visible=visible, **told)
    assert_never(control.widget)


def element_id(field: str) -> str:
    """The id of a control's element."""
    return f"c-{field.replace('.', '-').replace('_', '-')}"
