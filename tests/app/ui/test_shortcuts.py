"""Quality modes are read off the controls and hold no setting of their own."""

import pytest

from framepack.app.ui.controls import BY_FIELD
from framepack.app.ui.form import defaults, draft_request
from framepack.app.ui.shortcuts import CUSTOM, LABELS, labels_for, mode_of, modes_of, prompts_for, threshold_for
from framepack.spec.parts import THRESHOLDS
from framepack.spec.variants import VARIANTS
from framepack.training.data.grammar import PHRASES, SPRITE_PHRASES

EACH = [(model, name) for model in VARIANTS for name in modes_of(model)]


@pytest.mark.parametrize(("model", "name"), EACH)
def test_a_mode_is_known_by_the_controls_it_moves(model: str, name: str) -> None:
    modes = modes_of(model)
    moved = defaults() | {"model": model} | modes[name]
    assert mode_of(moved) == name
    assert draft_request(moved).steps == modes[name]["steps"]
    for field in modes[name]:
        assert field in BY_FIELD
        assert (
            mode_of(moved | {field: 0.5 if field == "cache_threshold" else 33 if field == "steps" else "first-block"})
            == CUSTOM
        )


def test_the_page_begins_balanced_and_every_mode_has_a_label() -> None:
    assert mode_of(defaults()) == "balanced"
    for model in VARIANTS:
        assert [name for _, name in labels_for(model)] == [*modes_of(model), CUSTOM]
    assert {name for _, name in LABELS} == {*modes_of("framepack"), CUSTOM}


def test_the_bundled_models_are_asked_only_for_motions_they_were_trained_on() -> None:
    known = {phrase for phrases in (PHRASES | SPRITE_PHRASES).values() for phrase in phrases}
    for model, variant in VARIANTS.items():
        asked = [prompt.removesuffix(".").lower() for prompts in prompts_for(model).values() for prompt in prompts]
        assert len(set(asked)) == len(asked)
        assert (set(asked) <= known) is variant.bundled


def test_another_cache_brings_its_own_threshold_and_leaves_a_chosen_one():
    assert threshold_for("first-block", THRESHOLDS["teacache"]) == THRESHOLDS["first-block"]
    assert threshold_for("none", THRESHOLDS["first-block"]) == THRESHOLDS["none"]
    assert threshold_for("first-block", 0.31) == 0.31
