"""A checkpoint that a kill interrupts, wherever it strikes: there is always one to go on from."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from framepack.training import state
from framepack.training.state import has_state, load_state, save_state


class Counter:
    """An optimizer with one tensor: the step it was saved at."""

    def __init__(self, step: int) -> None:
        self.step = self.step_count = step

    def state(self) -> dict[str, torch.Tensor]:
        return {"step": torch.tensor(self.step)}

    def load(self, tensors: dict[str, torch.Tensor], step: int) -> None:
        assert int(tensors["step"]) == step
        self.step = step


class KilledError(Exception):
    pass


def calls_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *, last: int) -> int:
    """Save step 2 over step 1, killed at call number `last` of those that change files; how many there were."""
    save_state(folder, Counter(1), 1, 10)
    made = 0

    def counted(real):
        def call(*args, **kwargs):
            nonlocal made
            made += 1
            if made == last:
                raise KilledError
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_tensors", counted(state.save_tensors))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        patch.setattr(Path, "rename", counted(Path.rename))
        patch.setattr(Path, "write_bytes", counted(Path.write_bytes))
        with suppress(KilledError):
            save_state(folder, Counter(2), 2, 20)
    return made


def test_a_kill_at_any_call_leaves_the_old_or_the_new_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = []
    for last in range(1, calls_of(tmp_path / "whole", monkeypatch, last=0) + 1):
        folder = tmp_path / str(last)
        calls_of(folder, monkeypatch, last=last)
        assert has_state(folder)
        optimizer = Counter(0)
        assert load_state(folder, optimizer) in ((1, 10), (2, 20))
        found.append(optimizer.step)
        save_state(folder, Counter(3), 3, 30)
        assert load_state(folder, optimizer) == (3, 30)
    assert found == sorted(found)
    assert set(found) == {1, 2}


def test_a_folder_without_a_whole_checkpoint_has_none(tmp_path: Path):
    assert not has_state(tmp_path / "state")
    (tmp_path / "state.new").mkdir()
    assert not has_state(tmp_path / "state")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: flip(folder / "part-00.safetensors"), "part-00.safetensors is damaged"),
        (lambda folder: (folder / "part-00.safetensors").unlink(), "part-00.safetensors is missing"),
        (lambda folder: (folder / "state.json").write_bytes(b""), "state.json is damaged"),
        (lambda folder: flip(folder / "state.json"), "state.json is damaged"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_the_way_out(tmp_path: Path, damage, said: str):
    folder, optimizer = tmp_path / "state", Counter(0)
    save_state(folder, Counter(1), 1, 10)
    damage(folder)
    with pytest.raises(ValueError, match=rf"state is damaged \({said}.*delete that folder to begin anew"):
        load_state(folder, optimizer)
    assert optimizer.step == 0


def test_a_checkpoint_of_an_earlier_version_is_taken_up(tmp_path: Path):
    save_state(tmp_path / "state", Counter(4), 4, 40)
    (tmp_path / "state" / "state.json").write_text('{"step": 4, "samples": 40, "stepped": 4}')
    assert load_state(tmp_path / "state", Counter(0)) == (4, 40)
