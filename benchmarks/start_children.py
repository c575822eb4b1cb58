"""Do children start while a native library in another thread changes the environment, and is `serve`'s log clean?

    python benchmarks/start_children.py [--starts 1000] [--serves 100] [--save FILE]

Counts failed starts with the helper that every child is started by, and with a bare Popen beside it: what the helper
guards against. Then starts and ends `framepack serve` again and again, asks it for its models, and counts complaints.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framepack.files.child import PIPE, start

COMPLAINTS = ("Bad address", "cannot check", "Traceback", "cannot start")


@contextmanager
def restless() -> Iterator[None]:
    """Set and unset variables in C, without Python's lock, while the block runs."""
    libc, done = ctypes.CDLL(None), threading.Event()

    def change() -> None:
        while not done.is_set():
            for number in range(1000):
                libc.setenv(b"RESTLESS_%d" % number, b"x" * (number * 5), 1)
            for number in range(1000):
                libc.unsetenv(b"RESTLESS_%d" % number)

    thread = threading.Thread(target=change)
    thread.start()
    yield
    done.set()
    thread.join()


def failures(starts: int, *, bare: bool) -> int:
    """How many starts of a small program fail."""
    failed = 0
    for _ in range(starts):
        try:
            with subprocess.Popen(["true"]) if bare else start(["true"]) as child:
                failed += bool(child.wait())
        except OSError:
            failed += 1
    return failed


def serve_once(folder: Path) -> tuple[str, bool]:
    """The complaints in the log of a service that was started, asked for its models and ended; whether it knew them."""
    command = [
        sys.executable,
        "-u",
        "-c",
        "from framepack.app.cli.main import main; main()",
        "serve",
        "--port",
        "0",
        "--outputs",
        str(folder),
    ]
    with start(command, stdout=PIPE, stderr=subprocess.STDOUT) as service:
        assert service.stdout
        address = service.stdout.readline().split()[2].decode().rstrip(";")
        knew, until = False, time.monotonic() + 60
        while not knew and time.monotonic() < until:
            with urllib.request.urlopen(f"{address}/api/models", timeout=30) as answer:
                knew = b'"to_fetch":4' in answer.read()
            time.sleep(0.2)
        service.terminate()
        log = service.communicate()[0].decode(errors="replace")
    return "; ".join(line for line in log.splitlines() if any(word in line for word in COMPLAINTS)), knew


def main() -> int:
    """Print the counts; exit code 1 where a start failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--serves", type=int, default=100)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    with restless():
        ours, bare = failures(options.starts, bare=False), failures(options.starts, bare=True)
    lines = [f"| {options.starts} starts beside a native setenv | {ours} failed | without the helper {bare} failed |"]
    bad = unknown = 0
    with tempfile.TemporaryDirectory() as name:
        os.environ["HF_HOME"] = name  # no model is here, so what is missing must become known
        for _ in range(options.serves):
            complaint, knew = serve_once(Path(name) / "outputs")
            bad, unknown = bad + bool(complaint), unknown + (not knew)
            if complaint or not knew:
                print(complaint or "the models never became known", file=sys.stderr)
    lines.append(f"| {options.serves} starts of `serve` | {bad} complained | {unknown} never knew the models |")
    print("\n".join(lines))
    if options.save:
        options.save.write_text("\n".join(lines) + "\n")
    return 1 if ours or bad or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
