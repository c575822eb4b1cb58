"""Cut-outs go where their motions say, over the scene, and with the camera."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from framepack.training.data.block_encoder import BlockEncoder
from framepack.training.data.clip_recipe import ClipRecipe
from framepack.training.data.clips import ClipStream, Scenes, draw_motions, headings_of, state_rates
from framepack.training.data.grammar import PromptMotion
from framepack.training.data.images import draw_image
from framepack.training.data.motions import BOUNCE_PIXELS, MOTIONS, SPRITE_MOTIONS, render, start_pictures, state_at
from framepack.training.data.sections import VideoLatent, forward_section, inverted_section
from framepack.training.data.sprites import Layer, blur_backgrounds, draw_layer

SIZE = 96


@pytest.fixture
def square() -> Layer:
    """A bright square of 20 pixels, 4 left of and 6 below the middle, on whatever is below it."""
    alpha = torch.zeros(1, 1, 32, 32)
    alpha[..., 6:26, 6:26] = 1
    return Layer(
        clips=torch.tensor([0]), colours=torch.ones(1, 3, 32, 32), alpha=alpha, centre=torch.tensor([[-4.0, 6.0]])
    )


def shown(motions: tuple[str, ...], frame: int, layer: Layer) -> torch.Tensor:
    """(H, W) in 0..1, the square's light on black."""
    row = sum((MOTIONS | SPRITE_MOTIONS)[motion].row() for motion in motions)[None]
    state = state_at(torch.tensor([frame]), row, row, torch.zeros(1))
    return (render(torch.full((1, 3, SIZE, SIZE), -1.0), state, layer)[0, 0, 0] + 1) / 2


def centre(light: torch.Tensor) -> tuple[float, float]:
    line = torch.arange(float(SIZE)) - (SIZE - 1) / 2
    return float((light.sum(0) * line).sum() / light.sum()), float((light.sum(1) * line).sum() / light.sum())


@pytest.mark.parametrize(
    ("motion", "frame", "right", "down"),
    [
        ("sprite left", 20, -12, 0),
        ("sprite right", 20, 12, 0),
        ("sprite up", 20, 0, -12),
        ("sprite down", 20, 0, 12),
        ("sprite falls", 10, 0, 2.25),
        ("sprite falls", 20, 0, 9),
        ("sprite bounces", 12, 0, -BOUNCE_PIXELS),
        ("sprite bounces", 24, 0, 0),
        ("sprite grows", 20, 0, 0),
        ("sprite spins", 20, 0, 0),
    ],
)
def test_a_cut_out_is_where_its_motion_puts_it(motion, frame, right, down, square):
    x, y = centre(shown((motion,), frame, square))
    assert (x + 4, y - 6) == (pytest.approx(right, abs=0.05), pytest.approx(down, abs=0.05))


def test_it_covers_the_scene_fully_and_leaves_no_trace_where_it_was(square):
    light = shown(("sprite right",), 40, square)
    assert float(light.max()) == pytest.approx(1, abs=1e-5)
    assert float(light.sum()) == pytest.approx(400, rel=0.01)


def test_growing_enlarges_and_spinning_keeps_the_area_but_turns_the_corners(square):
    assert float(shown(("sprite grows",), 36, square).sum()) > 1.8 * 400
    turned = shown(("sprite spins",), round(math.pi / 4 / 0.06), square)
    assert float(turned.sum()) == pytest.approx(400, rel=0.01)
    assert int((turned.sum(0) > 0.5).sum()) > 26


def test_a_texture_turns_clockwise(square):
    marked = Layer(clips=square.clips, colours=square.colours, alpha=square.alpha.clone(), centre=square.centre)
    marked.alpha[..., :16] = 0  # the right half is left
    x, y = centre(shown(("sprite spins",), round(math.pi / 2 / 0.06), marked))
    assert y - 6 == pytest.approx(5, abs=0.1)
    assert x + 4 == pytest.approx(0, abs=0.1)


def test_the_camera_carries_the_cut_out_along(square):
    x, _ = centre(shown(("pan left", "sprite right"), 20, square))
    assert x + 4 == pytest.approx(10 + 12, abs=0.05)
    wide = shown(("zoom out", "sprite grows"), 30, square)
    assert float(wide.sum()) == pytest.approx(float(shown(("sprite grows",), 30, square).sum()) * 0.7, rel=0.05)


@pytest.mark.parametrize("camera", ["still", "zoom out", "roll clockwise", "ripple", "sway", "pan down"])
def test_nothing_is_lost_by_looking_only_near_the_cut_out(camera, square, monkeypatch):
    """Long videos, every motion: the boxes hold all of it."""
    frames = torch.tensor([0, 30, 60, 108])
    for motion in SPRITE_MOTIONS:
        row = (MOTIONS[camera].row() + SPRITE_MOTIONS[motion].row())[None]
        state = state_at(frames, row, row, torch.zeros(1))
        boxed = render(torch.zeros(1, 3, 64, SIZE), state, square)
        with monkeypatch.context() as patch:
            patch.setattr("framepack.training.data.sprites._boxes", lambda *_: [(0, 64, 0, SIZE)])
            assert torch.equal(boxed, render(torch.zeros(1, 3, 64, SIZE), state, square))


def drawn(count: int = 6):
    random = np.random.default_rng(4)
    images = torch.zeros(count, 3, 64, 64)
    textures = [draw_image(np.random.default_rng((8, i)), 48) for i in range(count)]
    return images, draw_layer(random, textures, images, range(count), [(0.0, 9.0)] * count)


def test_drawn_cut_outs_stand_out_in_the_picture_and_leave_most_of_it():
    images, layer = drawn()
    difference = (start_pictures(images, layer) - images).abs().mean(1)
    share = (difference > 0.05).float().mean((1, 2))
    assert float(share.min()) > 0.02
    assert float(share.max()) < 0.4
    assert float((difference * (difference > 0.05)).sum() / (difference > 0.05).sum()) > 0.3
    assert (layer.centre[:, 1] < 14).all()


def test_what_will_fall_starts_above_and_what_bounces_below():
    falls, bounces = headings_of(
        state_rates([(PromptMotion(name="sprite falls"),), (PromptMotion(name="sprite bounces"),)])
    )
    assert falls[1] > 10
    assert bounces[1] < 0


def test_scenes_behind_cut_outs_are_sometimes_out_of_focus():
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changed = (blur_backgrounds(np.random.default_rng(0), images, range(30)) != images).flatten(1).any(1)
    assert 5 < int(changed[:30].sum()) < 25
    assert not changed[30:].any()


@pytest.fixture(scope="module")
def stream(block_encoder: BlockEncoder) -> ClipStream:
    return ClipStream(block_encoder, torch.device("cpu"))


@pytest.fixture(scope="module")
def pool() -> np.ndarray:
    return np.stack([draw_image(np.random.default_rng((8, i)), 64) for i in range(6)])


def test_history_and_window_show_one_video(stream, pool):
    """The start, the known latents and the window of a section are cut from the same moving cut-out."""
    recipe = ClipRecipe(sprites=1.0, sprite_moves=1.0)

    def batch(section):
        return stream.batch(np.random.default_rng(5), recipe, pool, section, 3, (64, 64))

    first, later = batch(inverted_section(3, 0, 1)), batch(forward_section(3, 1))
    assert all(motion[0].name in SPRITE_MOTIONS for motion in first.motions)
    assert first.prompts == later.prompts
    assert later.section.context[0].sources[1] == VideoLatent(3)
    assert torch.equal(first.noisy[:, :, 2], later.context[0][:, :, 1])
    assert torch.equal(first.context[0][:, :, 1], later.noisy[:, :, 0])
    expected = stream.encoder(first.images[:, :, None].expand(-1, -1, 4, -1, -1))
    torch.testing.assert_close(first.context[0][:, :, :1], expected, atol=1e-4, rtol=1e-4)


def test_only_known_sections_are_blurred(stream, pool):
    images = torch.from_numpy(pool).permute(0, 3, 1, 2).float() / 127.5 - 1
    rates = state_rates([(PromptMotion(name="pan left"),)] * len(images))
    section, scenes = forward_section(2, 2, keyframes=[7]), Scenes(images=images, rates=(rates, rates))
    sharp, soft = (stream.encode(replace(scenes, blur=blur), section, (), ()) for blur in (0.0, 0.8))
    assert torch.equal(sharp.noisy, soft.noisy)
    for part, before, after in zip(section.context, sharp.context, soft.context, strict=True):
        for index, source in enumerate(part.sources):
            same = torch.equal(before[:, :, index], after[:, :, index])
            assert same != isinstance(source, VideoLatent), source
    alone = inverted_section(2, 0, 0)
    nothing_known = stream.encode(replace(scenes, blur=0.8), alone, (), ())
    assert torch.equal(nothing_known.noisy, stream.encode(scenes, alone, (), ()).noisy)


def test_a_share_of_clips_has_cut_outs_and_some_of_these_stand_still(stream, pool):
    random = np.random.default_rng(1)
    recipe = ClipRecipe(sprites=0.5, combined=0.5)
    motions = []
    for _ in range(12):
        motions += stream.batch(random, recipe, pool, inverted_section(2, 0, 0), 8, (32, 32)).motions
    moving = [motion for motion in motions if any(w.name in SPRITE_MOTIONS for w in motion)]
    assert 0.25 < len(moving) / len(motions) < 0.55
    assert any(len(motion) == 2 for motion in moving)


def test_pictures_without_cut_outs_are_never_asked_to_move_one():
    random = np.random.default_rng(2)
    drawn = [draw_motions(random, ClipRecipe(sprites=1.0, combined=0.5)) for _ in range(200)]
    assert not {w.name for motion in drawn for w in motion} & SPRITE_MOTIONS.keys()
