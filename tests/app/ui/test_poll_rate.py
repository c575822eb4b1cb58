"""Few tabs poll every second; many share the polls that a server has to spare, and closed ones free theirs."""

import pytest

from framepack.app.ui.poll_rate import CLOSED_AFTER, FULL_RATE_TABS, INTERVAL, PollRate


def test_many_tabs_poll_as_often_together_as_a_few():
    now = [0.0]
    rate = PollRate(lambda: now[0])
    assert {rate.seconds(f"tab {index}") for index in range(FULL_RATE_TABS)} == {INTERVAL}
    for _ in range(2):
        spans = [rate.seconds(f"tab {index}") for index in range(200)]
    assert sum(1 / span for span in spans) == pytest.approx(FULL_RATE_TABS / INTERVAL)
    now[0] += CLOSED_AFTER + 1
    assert rate.seconds("tab 3") == INTERVAL
