import threading

import pytest
from fake_generator import Fake, ask

from framepack.jobs.run import run
from framepack.jobs.stream import AsyncStream, Command, Ended
from framepack.spec.events import Cancelled, Failed, Finished, Notice, SectionDone, StepDone


def items(stream: AsyncStream) -> list:
    return list(stream)


def make(tmp_path, stream: AsyncStream, **script) -> list:
    request = ask(**script)
    path = tmp_path / "v.mp4"
    request = request.model_copy(update={"output": request.output.model_copy(update={"path": path})})
    run(Fake(), request, outputs=tmp_path, work=tmp_path, stream=stream)
    return items(stream)


class Commanding(AsyncStream):
    """Sends a command after the given event."""

    def __init__(self, command: Command, when) -> None:
        super().__init__()
        self.to_send, self.when = command, when

    def emit(self, event):
        super().emit(event)
        if self.when(event):
            self.send(self.to_send)


def third_step(event) -> bool:
    return isinstance(event, StepDone) and (event.section, event.step) == (1, 2)


def test_items_keep_their_order_and_the_ending_is_last_and_only_one(tmp_path):
    stream = AsyncStream()
    seen: list = []
    reader = threading.Thread(target=lambda: seen.extend(stream))
    reader.start()
    for number in range(1000):
        stream.emit(Notice(message=str(number)))
    stream.end(Ended(how="finished"))
    stream.end(Ended(how="crashed"))
    reader.join()
    assert [item.message for item in seen[:-1]] == [str(number) for number in range(1000)]
    assert seen[-1] == Ended(how="finished")
    assert stream.get(0) is None


def test_a_run_emits_every_event(tmp_path):
    seen = make(tmp_path, AsyncStream(), sections=2, steps=3)
    assert [type(item) for item in seen[-2:]] == [Finished, Ended]
    assert sum(isinstance(item, StepDone) for item in seen) == 6


@pytest.mark.parametrize(
    ("command", "how", "steps"),
    [
        (Command.CANCEL, "cancelled", 7),
        (Command.RELEASE, "released", 7),
        (Command.STOP, "stopped", 8),
        (Command.PAUSE, "paused", 8),
    ],
)
def test_a_command_holds_at_the_next_event_or_once_the_section_is_finished(tmp_path, command, how, steps):
    stream = Commanding(command, third_step)
    seen = make(tmp_path, stream, sections=3, steps=4)
    assert seen[-1] == Ended(how=how)
    assert sum(isinstance(item, StepDone) for item in seen) in (steps, steps + 1)
    assert sum(isinstance(item, SectionDone) for item in seen) == (1 if steps == 7 else 2)
    cancelled = [item for item in seen if isinstance(item, Cancelled)]
    if how in ("cancelled", "stopped"):
        assert cancelled[0].file.name == "v.part.mp4"
        assert cancelled[0].frames == (36 if how == "cancelled" else 72)
    else:
        assert cancelled == []


def test_stop_and_pause_in_the_last_section_let_it_finish(tmp_path):
    for command in (Command.STOP, Command.PAUSE):
        assert make(tmp_path, Commanding(command, third_step), sections=2)[-1] == Ended(how="finished")


def test_a_command_of_higher_priority_wins_and_one_of_lower_can_be_cleared():
    sent: list = []
    stream = AsyncStream(on_command=sent.append)
    stream.send(Command.PAUSE)
    stream.clear_command()
    assert stream.command is None
    stream.send(Command.STOP)
    stream.send(Command.PAUSE)
    assert stream.command == Command.STOP
    stream.send(Command.CANCEL)
    stream.clear_command()
    assert stream.command == Command.CANCEL
    assert sent == [Command.PAUSE, None, Command.STOP, Command.CANCEL]


def test_an_error_is_a_sentence_and_a_traceback(tmp_path):
    seen = make(tmp_path, AsyncStream(), fail="error", section=1)
    assert isinstance(seen[-2], Failed)
    assert (seen[-1].how, seen[-1].message) == ("failed", "the picture is too small; use a larger one")
    assert "Traceback" in seen[-1].traceback


def test_a_full_disk_is_no_failure(tmp_path):
    seen = make(tmp_path, AsyncStream(), fail="full", section=1)
    assert seen[-1].how == "disk full"
    assert not any(isinstance(item, Failed) for item in seen)


def test_a_generator_that_ends_without_a_video_is_a_failure(tmp_path):
    stream = AsyncStream()
    run(lambda *_, **__: iter([Notice(message="hm")]), ask(), outputs=tmp_path, work=tmp_path, stream=stream)
    assert items(stream)[-1].how == "failed"
