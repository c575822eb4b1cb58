"""A run's log outlives full disks and interrupted processes."""

import pytest

from framepack.training.run_log import append_row, read_log, truncate_log


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    for step in (2, 4, 6):
        append_row(path, {"step": step, "loss": 1 / step})
    return path


def test_rows_later_than_a_checkpoint_are_dropped_and_made_again(log):
    truncate_log(log, 4)
    append_row(log, {"step": 6, "loss": 0.5})
    assert [(row["step"], row["loss"]) for row in read_log(log)] == [(2, 0.5), (4, 0.25), (6, 0.5)]


@pytest.mark.parametrize("rest", ["8", "8,", "8,0.1,3\n", "\n", "8,0.\x00"])
def test_a_row_cut_off_is_left_out_and_the_next_one_is_whole(log, rest):
    with log.open("a", encoding="utf-8") as file:
        file.write(rest)
    assert [row["step"] for row in read_log(log)] == [2, 4, 6]
    truncate_log(log, 6)
    append_row(log, {"step": 8, "loss": 0.125})
    assert [row["step"] for row in read_log(log)] == [2, 4, 6, 8]


@pytest.mark.parametrize("text", ["", "st", "step,loss\n"])
def test_a_log_without_a_row_begins_anew(tmp_path, text):
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8")
    assert read_log(path) == []
    truncate_log(path, 10)
    append_row(path, {"step": 2, "loss": 0.5})
    assert read_log(path) == [{"step": 2, "loss": 0.5}]
