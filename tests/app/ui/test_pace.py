"""Few tabs look every second; many share the looks that a server has to spare, and closed ones free theirs."""

import pytest

from framepack.app.ui.pace import FEW, GONE, LOOK, Pace


def test_many_tabs_look_as_often_together_as_a_few():
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert {pace.seconds(f"tab {index}") for index in range(FEW)} == {LOOK}
    for _ in range(2):
        spans = [pace.seconds(f"tab {index}") for index in range(200)]
    assert sum(1 / span for span in spans) == pytest.approx(FEW / LOOK)
    now[0] += GONE + 1
    assert pace.seconds("tab 3") == LOOK
