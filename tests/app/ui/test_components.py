"""The components of the table of controls."""

import pytest

pytest.importorskip("gradio")

from framepack.app.ui.components import build
from framepack.app.ui.controls import CONTROLS
from framepack.app.ui.form import defaults

TYPED = ["", "abc", "1e999", -5, 0, 0.5, 1e9, None]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.field)
def test_a_component_hands_on_whatever_is_typed_so_that_the_form_can_speak_of_it(control) -> None:
    component = build(control)
    usual = defaults()[control.field]
    for value in TYPED if isinstance(usual, int | float) and not isinstance(usual, bool) else [usual]:
        assert component.preprocess(value) == value
