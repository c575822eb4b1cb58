"""Training sees exactly the contexts that inference lays out."""

from pathlib import Path

import numpy as np
import pytest

from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest
from framepack.training.data.sections import (
    ImageLatent,
    SectionRecipe,
    VideoLatent,
    draw_section,
    forward_section,
    inverted_section,
)


def layout(section):
    return sorted((part.scale, at) for part in section.context for at in part.at)


def planned_layout(section):
    return sorted((span.scale, at) for span in section.context for at in span.at)


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_indices_are_those_of_the_plan_in_both_orders(model):
    request = GenerationRequest(image=Path("picture.png"), prompt="pan left", model=model, seconds=3.6)
    plans = plan(request)
    assert len(plans) == 3
    for made, planned in enumerate(plans):
        mine = inverted_section(9, 2 - made, made) if model == "mini" else forward_section(9, made)
        assert list(mine.noisy_at) == list(planned.at)
        assert layout(mine) == planned_layout(planned)
        assert [source.latent for source in mine.noisy] == list(planned.latents)


def test_an_empty_history_is_nineteen_zeros_in_inverted_order():
    sources = [source for part in inverted_section(9, 1, 0).context for source in part.sources]
    assert sources.count(None) == 19
    assert sources[0] == ImageLatent(0)


def test_history_is_what_lies_next_to_the_window():
    ahead = inverted_section(9, 0, 1)
    assert ahead.context[0].sources[1] == VideoLatent(10)
    assert ahead.context[2].sources[:6] == tuple(VideoLatent(k) for k in range(13, 19))
    behind = forward_section(9, 1)
    assert behind.context[0].sources[1] == VideoLatent(9)
    assert behind.context[2].sources[-1] == VideoLatent(6)


def test_forward_history_ends_on_the_start_picture_before_anything_is_made():
    assert forward_section(9, 0).context[0].sources == (ImageLatent(0), ImageLatent(0))


def test_a_previous_section_is_the_known_one_next_to_the_window():
    random, recipe = np.random.default_rng(0), SectionRecipe(rehearsed=1.0, empty_history=0.2)
    seen = set()
    for _ in range(200):
        section = draw_section(random, recipe)
        known = [source for part in section.context for source in part.sources if isinstance(source, VideoLatent)]
        if section.previous is None:
            assert not known or section.change or section.noisy[0].latent > 3 * len(section.noisy)
            continue
        assert not section.change
        made = section.previous.noisy
        beside = -1 if section.order == "forward" else len(made)
        assert section.noisy[0].latent == made[-1 if beside < 0 else 0].latent - beside
        assert set(made) <= set(known)
        assert section.previous.order == section.order
        assert section.previous.previous is None
        seen.add((section.order, len(section.previous.context[0].sources), len(made)))
    assert {order for order, *_ in seen} == {"forward", "inverted"}


def test_an_end_frame_is_the_last_frame_of_the_window_in_the_nearest_slot():
    section = inverted_section(9, 1, 0, end=True)
    assert section.context[0].sources[1] == ImageLatent(4 * 18)
    assert section.context[0].at[1] == 19


def test_a_keyframe_ahead_in_forward_order_keeps_its_distance_to_the_window():
    section = forward_section(9, 1, keyframes=[20])
    assert section.context[0].sources[2] == ImageLatent(80)
    assert section.context[0].at[2] - section.noisy_at[0] == 20 - section.noisy[0].latent


def test_drawn_sections_mix_orders_and_always_have_as_many_sources_as_indices():
    random = np.random.default_rng(0)
    sections = [draw_section(random, SectionRecipe()) for _ in range(300)]
    assert {section.order for section in sections} == {"inverted", "forward"}
    for section in sections:
        assert len(section.noisy) == len(section.noisy_at)
        assert all(len(part.sources) == len(part.at) for part in section.context)
        assert sum(len(part.at) for part in section.context) >= 20
