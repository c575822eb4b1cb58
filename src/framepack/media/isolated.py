"""A sink whose encoder works in a child process of its own; this is the parent's half, `encode_child` the other.

libx265 gives wrong frames, or ends its process, once a process has encoded videos of other sizes.
"""

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from framepack.files.child import NOTHING, PIPE, bare_environment, start
from framepack.files.errors import MediaError
from framepack.media.sinks import Frame, SinkSpec, WideFrame

QUIET = {"SVT_LOG": "1"}
"""What SVT-AV1 says of itself."""


class IsolatedSink:
    """Hands frames to the child as raw bytes. Raises OSError for what the system refused it, else MediaError."""

    def __init__(self, path: Path, spec: SinkSpec) -> None:
        order = {**asdict(spec), "fps": str(spec.fps), "path": str(path.absolute())}
        if spec.sound:
            assert isinstance(spec.sound.file, str | Path), "the child opens it by its name"
            order["sound"] = {
                "file": str(Path(spec.sound.file).absolute()),
                "start": spec.sound.start,
                "origin": spec.sound.origin,
            }
        metadata = (order.pop("metadata") or "").encode()  # too long for a command line
        order["metadata_bytes"] = len(metadata)
        command = [sys.executable, "-P", "-s", "-m", "framepack.media.encode_child", json.dumps(order)]
        self.child = start(command, stdin=PIPE, stdout=PIPE, stderr=NOTHING, env=bare_environment() | QUIET)
        self._send(metadata)

    def write(self, frame: Frame | WideFrame) -> None:
        """Encode one (H, W, 3) uint8 frame."""
        self._send(np.ascontiguousarray(frame).data)

    def close(self) -> None:
        """Let the child finish the file."""
        assert self.child.stdin is not None
        with suppress(BrokenPipeError):
            self.child.stdin.close()
        self._answer()

    def discard(self) -> None:
        """Stop the child."""
        self.child.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        self.child.wait()

    def _send(self, data: "bytes | memoryview") -> None:
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(data)
        except BrokenPipeError:
            self._answer()
            raise MediaError("the encoder's process stopped before the end: write the video again") from None

    def _answer(self) -> None:
        """Wait for the child's end; raises where it says that it failed, or says nothing."""
        assert self.child.stdout is not None
        said = self.child.stdout.read()
        self.child.wait()
        try:
            answer = json.loads(said)
        except ValueError:
            code = self.child.returncode
            raise MediaError(
                f"the encoder's process ended with code {code}: write the video again, or as h264"
            ) from None
        if answer.get("errno"):
            raise OSError(answer["errno"], answer["error"])
        if answer.get("error"):
            raise MediaError(answer["error"])
