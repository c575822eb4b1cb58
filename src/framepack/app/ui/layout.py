"""The page's layout: makes all components. `page` connects their events."""

from dataclasses import dataclass

import gradio as gr
from gradio.components import Component

from framepack.app.ui import batch_form, finish_form, shortcuts, views
from framepack.app.ui.components import build, panel
from framepack.app.ui.control_rows import Place
from framepack.app.ui.controls import BY_FIELD, CONTROLS
from framepack.app.ui.form import defaults

PRESERVE_HELP = (
    "GPU memory to keep free for other programs, so that the card does not run full. More is safer and slower. "
    "Empty: chosen by the card's size."
)
MODE_HELP = "Sets steps and cache to values that go well together."


@dataclass(frozen=True, kw_only=True)
class Tab:
    """The components that belong to a tab and not to a field."""

    job: gr.Textbox
    editing: gr.Textbox
    search: gr.Textbox
    saved_form: gr.Textbox
    """The forms that the browser has saved, as JSON, when the page opens."""
    form_update: gr.HTML
    """New values for the form. The browser applies them and can undo them."""
    model: gr.Textbox
    """The model before it was changed: defaults of that model become those of the new one."""
    lock: gr.Checkbox
    quick_prompts: gr.HTML
    """Prompts that the model does well."""
    mode: gr.Radio
    advice: gr.HTML
    """How to download a model that is missing."""
    preserve: gr.Textbox
    """A textbox, because Gradio's number shows 0 where it is empty."""
    notice: gr.HTML
    errors: gr.HTML
    """Validation errors and notes, at their fields."""
    summary: gr.HTML
    viewer: gr.HTML
    queue: gr.HTML
    history: gr.HTML
    presets: gr.HTML
    batch_form: gr.HTML
    """Images, prompts and values for several videos at once, and their number."""
    batches: gr.HTML
    first_look: gr.HTML
    """Buttons for one frame and for a storyboard. Its value is the second of the frame."""
    generate: gr.Button
    stop_editing: gr.Button
    roll_seed: gr.Button


class Layout:
    """Makes all components, inside `gr.Blocks`: `controls` by field, the others in `tab`."""

    def __init__(self, *, has_gpu: bool) -> None:
        self.controls: dict[str, Component] = {}
        panel("header")
        notice = panel("notice", elem_id="fp-notice")
        form_update = panel("form_update", elem_id="fp-form-update", defaults=defaults())
        errors = panel("errors", elem_id="fp-errors")
        names = ("job", "editing", "search-text", "saved-form", "model")
        job, editing, search, saved_form, model = (hidden(name) for name in names)
        with gr.Row(elem_id="fp-main", equal_height=False):
            with gr.Column(elem_id="fp-left", min_width=320, scale=4):
                self._place("image")
                self._place("prompt")
                quick_prompts = panel("quick_prompts", shortcuts.prompts_for(defaults()["model"]))
                with gr.Row(elem_id="fp-go"):
                    generate = gr.Button("Generate", variant="primary", elem_id="fp-generate")
                    stop_editing = gr.Button("Stop editing", visible=False, min_width=120, elem_id="fp-stop-editing")
                summary = panel("text", elem_id="fp-summary")
                with gr.Accordion("Look first: a frame or a storyboard", open=False, elem_classes="fp-fold"):
                    first_look = panel("first_look", "", elem_id="fp-first-look")
                with gr.Accordion("Keyframes and timed prompts", open=False, elem_classes="fp-fold"):
                    self._place("timeline")
                with gr.Accordion("Several videos at once", open=False, elem_classes="fp-fold", elem_id="fp-several"):
                    several = panel("batch_form", elem_id="fp-batch-form", fields=batch_form.grid_fields())
                with gr.Column(elem_classes="fp-group"):
                    advice, roll_seed, lock = self._video()
                    preserve = preserve_box(visible=has_gpu)
                with gr.Accordion("Advanced", open=False, elem_classes="fp-fold"):
                    mode = self._advanced()
                with gr.Accordion("Presets", open=False, elem_classes="fp-fold"):
                    presets = panel("presets", elem_id="fp-presets")
            with gr.Column(elem_id="fp-right", min_width=320, scale=7):
                viewer = panel("viewer", views.viewer(None), elem_id="fp-viewer")
                panel("finish", elem_id="fp-finish", form=finish_form.form())
                batches = panel("batches", [], elem_id="fp-batches")
                queue = panel("queue", views.queue([], 0), elem_id="fp-queue")
        history = panel("history", [], elem_id="fp-history")
        self.tab = Tab(
            job=job, editing=editing, search=search, saved_form=saved_form, form_update=form_update, model=model,
            lock=lock, mode=mode, preserve=preserve, quick_prompts=quick_prompts, advice=advice, notice=notice,
            errors=errors, summary=summary, viewer=viewer, queue=queue, history=history, presets=presets,
            generate=generate, stop_editing=stop_editing, roll_seed=roll_seed, batch_form=several, batches=batches,
            first_look=first_look,
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
            roll_seed = gr.Button("Roll", min_width=72, scale=0, elem_id="fp-roll-seed")
            lock = gr.Checkbox(False, label="Keep this seed", min_width=130, container=False, elem_id="fp-lock")
        self._put("steps")
        self._put("guidance")
        with gr.Row(elem_id="fp-size", elem_classes="fp-split"):
            for field in ("resolution", "width", "height"):
                self._put(field)
        self._place("video")
        return advice, roll_seed, lock

    def _advanced(self) -> gr.Radio:
        start = shortcuts.mode_of(defaults())
        modes = shortcuts.labels_for(defaults()["model"])
        mode = gr.Radio(modes, value=start, label="Quality mode", info=MODE_HELP, elem_id="fp-mode")
        self._place("advanced")
        return mode


def preserve_box(*, visible: bool) -> gr.Textbox:
    """Outside of all folds where there is a GPU, because people who share it with other programs need this."""
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
    """A hidden value of the tab."""
    return gr.Textbox("", visible="hidden", elem_id=f"fp-{name}")
