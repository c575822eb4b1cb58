"""Quality modes are read off the controls and hold no setting of their own."""

import pytest

from framepack.app.ui.controls import BY_FIELD
from framepack.app.ui.form import defaults, draft
from framepack.app.ui.shortcuts import LABELS, MODES, OWN, mode_of


@pytest.mark.parametrize("name", MODES)
def test_a_mode_is_known_by_the_controls_it_moves(name: str) -> None:
    moved = defaults() | MODES[name]
    assert mode_of(moved) == name
    assert draft(moved).steps == MODES[name]["steps"]
    for field in MODES[name]:
        assert field in BY_FIELD
        assert (
            mode_of(moved | {field: 0.5 if field == "cache_threshold" else 33 if field == "steps" else "first-block"})
            == OWN
        )


def test_the_page_begins_balanced_and_every_mode_has_a_label() -> None:
    assert mode_of(defaults()) == "balanced"
    assert {name for _, name in LABELS} == {*MODES, OWN}
