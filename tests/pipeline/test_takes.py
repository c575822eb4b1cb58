"""Another take makes what was asked for anew, shares the rest, and changes no bit of what lies beyond it."""

import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from runs import latents, make, request_of

from framepack import FramePack, GenerationRequest
from framepack.media.metadata import read_metadata
from framepack.media.read import read_video
from framepack.pipeline.section_files import section_file
from framepack.pipeline.takes import redo
from framepack.spec.events import Finished, Notice, SectionDone, StepDone
from framepack.spec.redo import made_anew, made_in, section_count

Models = dict[str, FramePack]
ORDERS = pytest.mark.parametrize("model", ["mini", "mini-f1"])
FRAMES = 12
"""Of a section: four for each of its three latents."""


def five_sections(picture: Path, output: Path, **fields: object) -> GenerationRequest:
    return request_of(picture, output, seconds=2.0, **fields)


def frames_of(file: Path) -> np.ndarray:
    return np.stack(list(read_video(file)))


def make_take(model: FramePack, request: GenerationRequest, work: Path, file: Path) -> list[int]:
    """Sections, as people count them from 0, of which a step was made; the video is in `file`."""
    named = request.model_copy(update={"output": request.output.model_copy(update={"path": file, "overwrite": True})})
    events = list(model.generate(named, work=work))
    assert isinstance(events[-1], Finished)
    assert not [event.message for event in events if isinstance(event, Notice)], "there is nothing to be said"
    assert [event.section for event in events if isinstance(event, SectionDone)] == list(range(section_count(request)))
    return sorted({event.section for event in events if isinstance(event, StepDone)})


@ORDERS
@pytest.mark.parametrize("section", [1, 2, 3, 4, 5])
def test_a_section_alone_changes_itself_and_the_frames_of_its_neighbours_to_the_bit(
    model: str, section: int, framepacks: Models, picture: Path, tmp_path: Path
):
    request = five_sections(picture, tmp_path / "a.mkv", model=model)
    before = make(framepacks[model], request, tmp_path / "first")
    taken = redo(tmp_path / "first", tmp_path / "second", section)
    made = make_take(framepacks[model], taken, tmp_path / "second", tmp_path / "b.mkv")
    after = latents(tmp_path / "second")
    index = 5 - section if model == "mini" else section - 1
    assert made == [index]
    assert [torch.equal(one, two) for one, two in zip(before, after, strict=True)] == [i != index for i in range(5)]
    one, two = frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv")
    changed = {int(frame) for frame in np.flatnonzero((one != two).any((1, 2, 3)))}
    first, end = 1 + FRAMES * (section - 2), 1 + FRAMES * (section + 1)
    assert changed <= set(range(max(first, 0) if section > 2 else 0, end))
    assert set(range(1 + FRAMES * (section - 1) + 3, 1 + FRAMES * section - 3)) <= changed, "the section itself is new"


@ORDERS
def test_from_a_section_on_everything_made_after_it_is_made_again(
    model: str, framepacks: Models, picture: Path, tmp_path: Path
):
    request = five_sections(picture, tmp_path / "a.mkv", model=model)
    before = make(framepacks[model], request, tmp_path / "first")
    taken = redo(tmp_path / "first", tmp_path / "second", 2, only=False, prompt="another")
    made = make_take(framepacks[model], taken, tmp_path / "second", tmp_path / "b.mkv")
    assert made == ([3, 4] if model == "mini" else [1, 2, 3, 4])
    same = [torch.equal(x, y) for x, y in zip(before, latents(tmp_path / "second"), strict=True)]
    assert same == [index not in made for index in range(5)]
    prompts = {section.index: section.prompt for section in plan_of(taken)}
    assert [prompts[index] for index in range(5)] == ["another" if index == made[0] else "" for index in range(5)]


def plan_of(request: GenerationRequest):
    from framepack.spec.plan import plan

    return plan(request.resolved())


@ORDERS
def test_the_same_seed_and_prompt_from_the_first_section_made_give_the_same_video(
    model: str, framepacks: Models, picture: Path, tmp_path: Path
):
    request = five_sections(picture, tmp_path / "a.mkv", model=model)
    before = make(framepacks[model], request, tmp_path / "first")
    first_made = 5 if model == "mini" else 1
    taken = redo(tmp_path / "first", tmp_path / "second", first_made, only=False, seed=request.seed)
    make_take(framepacks[model], taken, tmp_path / "second", tmp_path / "b.mkv")
    assert all(torch.equal(x, y) for x, y in zip(before, latents(tmp_path / "second"), strict=True))
    assert np.array_equal(frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv"))


@ORDERS
def test_a_redo_that_is_broken_off_goes_on_to_the_same_bits(
    model: str, framepacks: Models, picture: Path, tmp_path: Path
):
    request = five_sections(picture, tmp_path / "a.mkv", model=model)
    make(framepacks[model], request, tmp_path / "first")
    taken = redo(tmp_path / "first", tmp_path / "calm", 3)
    make_take(framepacks[model], taken, tmp_path / "calm", tmp_path / "calm.mkv")
    calm = frames_of(tmp_path / "calm.mkv")
    for stop in range(4):
        work, file = tmp_path / f"stopped-{stop}", tmp_path / f"{stop}.mkv"
        assert redo(tmp_path / "first", work, 3) == taken
        named = taken.model_copy(update={"output": taken.output.model_copy(update={"path": file})})
        run = framepacks[model].generate(named, work=work)
        done = 0
        for event in run:
            done += isinstance(event, SectionDone)
            if done > stop or (stop == 2 and isinstance(event, StepDone)):
                run.close()
        again = list(framepacks[model].generate(named, work=work))
        steps = {event.section for event in again if isinstance(event, StepDone)}
        assert steps == ({2} if stop <= 2 else set()), "what was made is not made again"
        assert not [event.message for event in again if hasattr(event, "message") and "damaged" in event.message]
        assert np.array_equal(frames_of(file), calm)


def test_the_file_says_which_take_it_is(framepacks: Models, picture: Path, tmp_path: Path):
    make(framepacks["mini"], five_sections(picture, tmp_path / "a.mkv"), tmp_path / "first")
    taken = redo(tmp_path / "first", tmp_path / "second", 2, prompt="night", seed=7)
    make_take(framepacks["mini"], taken, tmp_path / "second", tmp_path / "b.mkv")
    said = read_metadata(tmp_path / "b.mkv")
    assert said
    assert said["request"]["redo"] == [{"section": 2, "only": True, "seed": 7, "prompt": "night", "take": 2}]


def test_ten_random_trees_play_and_deleting_a_take_leaves_what_others_share(
    framepacks: Models, picture: Path, tmp_path: Path
):
    request = five_sections(picture, tmp_path / "a.mkv", steps=1)
    make(framepacks["mini"], request, tmp_path / "root")
    chance = Random(0)
    for number in range(10):
        tree = tmp_path / f"tree-{number}"
        shutil.copytree(tmp_path / "root", tree / "1")
        takes = {1: request}
        for take in range(2, 2 + chance.randint(1, 4)):
            parent = chance.choice(sorted(takes))
            section, only = chance.randint(1, 5), chance.random() < 0.6
            takes[take] = redo(tree / str(parent), tree / str(take), section, only=only, take=take)
            make_take(framepacks["mini"], takes[take], tree / str(take), tree / f"{take}.mkv")
        sections = {take: latents(tree / str(take)) for take in takes}
        for take, taken in takes.items():
            for index, maker in enumerate(reversed(made_in(taken))):
                assert torch.equal(sections[take][index], sections[maker][index]), (number, take, index)
        inodes = {file.stat().st_ino for file in tree.rglob("section-*.safetensors")}
        made = sum(len(made_anew(taken)) for taken in takes.values())
        assert len(inodes) == made, "each section is stored once"
        for gone in chance.sample(sorted(takes), len(takes) - 1):
            shutil.rmtree(tree / str(gone))
            del takes[gone]
            for take in takes:
                assert all(torch.equal(x, y) for x, y in zip(latents(tree / str(take)), sections[take], strict=True))
        left = next(iter(takes))
        another = redo(tree / str(left), tree / "last", 3)
        make_take(framepacks["mini"], another, tree / "last", tree / "last.mkv")
        assert len(frames_of(tree / "last.mkv")) == 61


def test_what_cannot_be_redone_is_refused_in_a_sentence(framepacks: Models, picture: Path, tmp_path: Path):
    request = five_sections(picture, tmp_path / "a.mkv")
    make(framepacks["mini"], request, tmp_path / "first")
    with pytest.raises(ValueError, match=r"section must be 1\.\.5, as the video has 5 sections, got 6"):
        redo(tmp_path / "first", tmp_path / "second", 6)
    with pytest.raises(ValueError, match=r"other things in it|work of another"):
        redo(tmp_path / "first", tmp_path / "first", 2)
    taken = redo(tmp_path / "first", tmp_path / "second", 2)
    with pytest.raises(ValueError, match="in a work folder that shares sections"):
        list(framepacks["mini"].generate(taken, outputs=tmp_path))
    with pytest.raises(ValueError, match=r"section-0000.safetensors of another take is not in"):
        list(framepacks["mini"].generate(taken, outputs=tmp_path, work=tmp_path / "empty"))
    section_file(tmp_path / "first", 0).unlink()
    with pytest.raises(ValueError, match=r"section-0000.safetensors is missing\): make the video again"):
        redo(tmp_path / "first", tmp_path / "third", 2)
    with pytest.raises(ValueError, match=r"request\.json is missing"):
        redo(tmp_path / "nowhere", tmp_path / "fourth", 2)


def test_a_shared_section_that_is_damaged_ends_the_take_in_a_sentence(
    framepacks: Models, picture: Path, tmp_path: Path
):
    make(framepacks["mini"], five_sections(picture, tmp_path / "a.mkv"), tmp_path / "first")
    taken = redo(tmp_path / "first", tmp_path / "second", 2)
    file = section_file(tmp_path / "second", 1)
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    with pytest.raises(ValueError, match=r"section-0001.safetensors is damaged"):
        list(framepacks["mini"].generate(taken, outputs=tmp_path, work=tmp_path / "second"))
