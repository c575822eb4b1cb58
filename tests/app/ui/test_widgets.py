"""The components of the table of controls."""

import pytest

pytest.importorskip("gradio")

from gradio import Slider

from framepack.app.ui.controls import BY_FIELD
from framepack.app.ui.widgets import filled


@pytest.mark.parametrize("seconds", [0.1, 5, 300])
def test_a_slider_takes_a_value_beyond_its_ends(seconds: float) -> None:
    update = filled(BY_FIELD["seconds"], seconds, True)
    assert Slider(update["minimum"], update["maximum"]).preprocess(seconds) == seconds
    assert (update["minimum"] <= 1, update["maximum"] >= 60) == (True, True)
