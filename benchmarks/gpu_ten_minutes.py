"""All GPU benchmarks in ten minutes or less, and one table of what they measured; see `gpu_ten_minutes.sh`.

Each part is a process of its own with a share of the time, so that neither a crash nor a hang nor Ctrl-C of one takes
the others' rows. Time that a part leaves is the next one's.
"""

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from gpu_rows import Rows, arguments, read, table

HERE = Path(__file__).parent
GRACE = 8.0
"""Seconds after its time that a part has for its last row; then it is ended."""
AGAIN = 2.0
"""A second Ctrl-C within so many seconds ends all."""


@dataclass(frozen=True)
class Part:
    script: str
    until: float
    """Share of the whole time at which it is to be done."""


PARTS = (Part("gpu_memory.py", 0.6), Part("gpu_stages.py", 0.82), Part("gpu_mini.py", 1.0))


def main() -> int:
    parser = arguments(__doc__)
    parser.set_defaults(seconds=570.0)
    parser.add_argument("--save", type=Path, help="where the table goes; by default into benchmarks/results")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        options = ["--scale", args.scale, "--device", args.device, "--size", args.size, "--rows", str(file)]
        for part in PARTS:
            left = began + part.until * args.seconds - time.monotonic()
            if not run(part, options, left, Rows(file, 0)):
                break
        rows = read(file)
    text = table(rows)
    print(f"\n{text}\n\n{time.monotonic() - began:.0f} s in all")
    save = args.save or HERE / "results" / f"gpu_ten_minutes-{slug(rows, args.device)}-{time.strftime('%Y-%m-%d')}.md"
    save.parent.mkdir(parents=True, exist_ok=True)
    save.write_text(text + "\n", encoding="utf-8")
    print(f"saved as {save}")
    return 0 if any("seconds" in row for row in rows) else 1


def run(part: Part, options: list[str], seconds: float, rows: Rows) -> bool:
    """One part, within its time; False where all is to end."""
    if seconds < GRACE:
        rows.add(part.script, note="left out: its time was up")
        return True
    command = [sys.executable, str(HERE / part.script), *options, "--seconds", str(seconds - GRACE)]
    with subprocess.Popen(command) as process:
        try:
            code = process.wait(seconds)
            if code:
                rows.add(part.script, note=f"ended with code {code}")
        except subprocess.TimeoutExpired:
            rows.add(part.script, note="ended: its time was up in the middle of a row")
        except KeyboardInterrupt:
            rows.add(part.script, note="stopped by Ctrl-C")
            return not again()
        finally:
            process.kill()
    return True


def again() -> bool:
    """Whether Ctrl-C is pressed once more."""
    try:
        time.sleep(AGAIN)
    except KeyboardInterrupt:
        return True
    return False


def slug(rows: list[dict], device: str) -> str:
    """A file name for the card."""
    name = rows[0]["name"].split(" (")[0] if rows else device
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]


if __name__ == "__main__":
    sys.exit(main())
