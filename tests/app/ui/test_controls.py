"""The table of controls covers the request."""

from framepack.app.ui.control_rows import ROWS
from framepack.app.ui.controls import CONTROLS, SERVICE_FIELDS
from framepack.app.ui.form import defaults
from framepack.app.ui.widget_types import Rows
from framepack.spec.fields import fields_of
from framepack.spec.formats import CODECS, FORMATS, codec_of
from framepack.spec.request import GenerationRequest


def test_every_field_of_a_request_has_one_row() -> None:
    fields = [control.field for control in CONTROLS]
    assert len(fields) == len(set(fields))
    assert set(fields) == {field.name for field in fields_of(GenerationRequest)} - set(SERVICE_FIELDS)
    assert set(fields) == set(ROWS), "each has a place of its own"


def test_each_row_has_a_label_and_a_sentence_of_help() -> None:
    for control in CONTROLS:
        assert control.label
        assert control.help.endswith("."), control.field


def test_rows_ask_for_each_field_of_what_they_list() -> None:
    from framepack.spec.parts import EndFrame, Keyframe, Lora, Reference, TimedPrompt

    listed = {"frames": Keyframe, "end_frame": EndFrame, "prompts": TimedPrompt, "loras": Lora}
    listed |= {"reference": Reference}
    rows = {control.field: control.widget for control in CONTROLS if isinstance(control.widget, Rows)}
    assert rows.keys() == listed.keys()
    for field, model in listed.items():
        assert {column.key for column in rows[field].columns} == set(model.model_fields)


def test_what_belongs_to_another_setting_is_shown_with_it() -> None:
    rules = {control.field: control.visible for control in CONTROLS}
    plain = defaults()
    assert not rules["negative_prompt"](plain)
    assert rules["negative_prompt"](plain | {"cfg": 2})
    assert not rules["frames"](plain | {"model": "framepack-f1"})
    assert not rules["resolution"](plain | {"width": 512})
    for name in FORMATS:
        assert rules["output.crf"](plain | {"output.format": name}) == CODECS[codec_of(name)].crf
    assert not rules["cache_threshold"](plain)
