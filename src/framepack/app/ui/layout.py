"""Where everything stands on the page. Makes the components; what they do is `page`."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from framepack.app.ui import many, shortcuts, views
from framepack.app.ui.controls import BY_FIELD, CONTROLS, Place
from framepack.app.ui.form import defaults
from framepack.app.ui.widgets import build, panel

PRESERVE_HELP = (
    "How much of the graphics card's memory to keep out of use, so that other programs have room and the card does not "
    "run full. More is safer and slower. Empty: decided by the card's size."
)
MODE_HELP = "Moves steps and cache to settings that go well together."


@dataclass(frozen=True, kw_only=True)
class Tab:
    """The components that belong to a tab and not to a field."""

    job: gr.Textbox
    editing: gr.Textbox
    search: gr.Textbox
    kept: gr.Textbox
    """What the browser kept of forms, as JSON, when the page opens."""
    memory: gr.HTML
    """What replaces something in the form; the browser puts it there and can take it back."""
    model: gr.Textbox
    """The model before it was changed, so that a length nobody has touched follows it."""
    lock: gr.Checkbox
    quick: gr.HTML
    """Sentences the model does well."""
    mode: gr.Radio
    advice: gr.HTML
    """What has to be done before the model can be used."""
    preserve: gr.Textbox
    """Text, as a number of Gradio's shows 0 where there is none."""
    notice: gr.HTML
    marks: gr.HTML
    summary: gr.HTML
    stage: gr.HTML
    queue: gr.HTML
    history: gr.HTML
    presets: gr.HTML
    many: gr.HTML
    """What makes several videos at once, and how many."""
    batches: gr.HTML
    generate: gr.Button
    leave: gr.Button
    dice: gr.Button


class Layout:
    """Makes all components, inside `gr.Blocks`: `controls` by their field, the others in `tab`."""

    def __init__(self, *, has_gpu: bool) -> None:
        self.controls: dict[str, Component] = {}
        panel("header")
        notice = panel("notice", elem_id="fp-notice")
        memory = panel("memory", elem_id="fp-memory", first=defaults())
        marks = panel("marks", elem_id="fp-marks")
        job, editing, search, kept, model = (hidden(name) for name in ("job", "edited", "find", "kept", "model"))
        with gr.Row(elem_id="fp-main", equal_height=False):
            with gr.Column(elem_id="fp-left", min_width=320, scale=4):
                self._place("picture")
                self._place("prompt")
                quick = panel("chips", shortcuts.prompts_for(defaults()["model"]))
                with gr.Row(elem_id="fp-go"):
                    generate = gr.Button("Generate", variant="primary", elem_id="fp-generate")
                    leave = gr.Button("Stop editing", visible=False, min_width=120, elem_id="fp-leave")
                summary = panel("text", elem_id="fp-summary")
                with gr.Accordion("Keyframes and prompts on the way", open=False, elem_classes="fp-fold"):
                    self._place("along")
                with gr.Accordion("Several videos at once", open=False, elem_classes="fp-fold", elem_id="fp-several"):
                    several = panel("many", elem_id="fp-many", fields=many.choices())
                with gr.Column(elem_classes="fp-group"):
                    advice, dice, lock = self._video()
                    preserve = memory_to_leave_free(visible=has_gpu)
                with gr.Accordion("Advanced", open=False, elem_classes="fp-fold"):
                    mode = self._advanced()
                with gr.Accordion("Presets", open=False, elem_classes="fp-fold"):
                    presets = panel("presets", elem_id="fp-presets")
            with gr.Column(elem_id="fp-right", min_width=320, scale=7):
                stage = panel("stage", views.stage(None), elem_id="fp-stage")
                batches = panel("batches", [], elem_id="fp-batches")
                queue = panel("queue", views.queue([], 0), elem_id="fp-queue")
        history = panel("history", [], elem_id="fp-history")
        self.tab = Tab(
            job=job, editing=editing, search=search, kept=kept, memory=memory, model=model, lock=lock, mode=mode,
            preserve=preserve, quick=quick, advice=advice, notice=notice, marks=marks, summary=summary, stage=stage,
            queue=queue, history=history, presets=presets, generate=generate, leave=leave, dice=dice,
            many=several, batches=batches,
        )  # fmt: skip

    def _place(self, place: Place) -> None:
        for control in CONTROLS:
            if control.place == place and control.field not in self.controls:
                self._put(control.field)

    def _put(self, field: str) -> None:
        self.controls[field] = build(BY_FIELD[field])

    def _video(self) -> tuple[gr.HTML, gr.Button, gr.Checkbox]:
        self._put("model")
        advice = panel("advice", elem_id="fp-advice")
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
        self._place("video")
        return advice, dice, lock

    def _advanced(self) -> gr.Radio:
        start = shortcuts.mode_of(defaults())
        modes = shortcuts.labels_for(defaults()["model"])
        mode = gr.Radio(modes, value=start, label="Quality mode", info=MODE_HELP, elem_id="fp-mode")
        self._place("advanced")
        return mode


def memory_to_leave_free(*, visible: bool) -> gr.Textbox:
    """In plain sight where there is a card: who shares it with other programs must not have to look for this."""
    return gr.Textbox(
        "",
        label="GPU memory to leave free (GB)",
        info=PRESERVE_HELP,
        placeholder="auto",
        max_lines=1,
        visible=visible,
        elem_id="fp-preserve",
    )


def hidden(name: str) -> gr.Textbox:
    """A value of the tab that nobody sees."""
    return gr.Textbox("", visible="hidden", elem_id=f"fp-{name}")
