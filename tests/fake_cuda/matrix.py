"""Whole 13 B jobs on cards that are not there: blocks on the card, notices, GB copied, page-locked RAM, races.

python tests/fake_cuda/matrix.py ~/fake-gpu [--save FILE] [ROW ...]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CARD_48, CARD_24 = 51_539_607_552, 25_393_364_992
"""Bytes of cards sold as 48 GB and 24 GB."""
HARBOUR = "examples/harbour.jpg"
LED_AWAY = {"nag": 5, "negative_prompt": "blurry", "reference": {"image": HARBOUR}}
GUIDED = {"frames": [{"image": HARBOUR, "second": 1.2}], "end_frame": {"image": HARBOUR}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A card, or a limit on a large one, and what a job of two sections of two steps may take there."""

    name: str
    memory: int = CARD_48
    limit: str | None = None
    blocks: int = 60
    """Least of 60 that are on the card in every step."""
    copied: float = 42.0
    """Most GB of weights that travel to the card."""
    pageable: int = 0
    """Most copies over 1 MB that pass by page-locked memory; none, unless the system locks no more."""
    job: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


LIMITS = [
    Row(name=f"{limit} GB", limit=f"{limit}GB", blocks=blocks, copied=copied)
    for limit, blocks, copied in ((4, 1, 102), (6, 8, 97), (8, 15, 91), (12, 27, 78), (16, 43, 63))
]
CARDS = [Row(name="24 GB card", memory=CARD_24)] + [
    Row(name=f"{size} GB card", memory=size * 1_073_741_824) for size in (48, 64, 80)
]
JOBS = [
    Row(name=f"{row.name}, {what}", memory=row.memory, limit=row.limit, blocks=least, copied=row.copied + more, job=job)
    for row, least, guided in ((LIMITS[2], 14, 66), (CARDS[0], 60, 0))
    for what, job, more in (
        ("keyframe and end frame", {"request": GUIDED}, 0),
        ("a LoRA", {"lora": True}, 0),
        ("guidance", {"request": {"cfg": 2.0}}, guided),
    )
]
"""With guidance each step passes the blocks twice: those that stream, 16.5 GB, travel four times more."""
OTHERS = [
    Row(name="8 GB, NAG and a reference", limit="8GB", blocks=12, copied=101, job={"request": LED_AWAY}),
    Row(name="24 GB card, NAG and a reference", memory=CARD_24, job={"request": LED_AWAY}),
    Row(name="24 GB card, no segments that grow", memory=CARD_24, environment={"FAKE_NO_SEGMENTS": "1"}),
    Row(
        name="8 GB, 1 GB page-locked",
        limit="8GB",
        blocks=15,
        copied=91,
        pageable=20,
        environment={"FAKE_LOCKABLE": "1000000000"},
    ),
]
ROWS = [*LIMITS, *CARDS, *JOBS, *OTHERS]


def python(home: Path, script: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script on the card in `home`, which `build.py` made."""
    card = str(home / "libfake_cuda.so")
    paths = os.pathsep.join([str(home / "site"), str(HERE.parents[1] / "src")])
    environment = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    environment |= {"PYTHONPATH": paths, "LD_LIBRARY_PATH": str(home), "LD_PRELOAD": card, "FAKE_LIBRARY": card}
    environment |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"} | variables
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=HERE.parents[1], timeout=1800
    )


def run(home: Path, row: Row) -> dict[str, Any]:
    """What the job took; RuntimeError with its traceback where it failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        variables = {"FAKE_MEMORY": str(row.memory), "FAKE_SKIP": "1", "FAKE_REPORT": str(report), **row.environment}
        done = python(home, HERE / "job.py", json.dumps({"limit": row.limit, **row.job}), **variables)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        lines = [line.split("\t") for line in report.read_text(encoding="utf-8").splitlines()]
    counts = {name: (int(times), float(size)) for name, times, size in lines}
    return json.loads(done.stdout.splitlines()[-1]) | {"counts": counts, "stderr": done.stderr}


def pageable(took: dict[str, Any]) -> int:
    """Copies of more than 1 MB, either way, that did not pass through page-locked memory."""
    return sum(times for name, (times, _) in took["counts"].items() if "pageable, large" in name)


def line(row: Row, took: dict[str, Any]) -> str:
    """A row of the table."""
    locked = took["counts"]["most locked"][1] / 1e9
    cells = (row.name, took["blocks"], len(took["notices"]), f"{took['copied'] / 1e9:.1f}")
    return "| " + " | ".join(map(str, (*cells, pageable(took), f"{locked:.1f}", took["races"]))) + " |"


HEADER = """| card or limit | blocks of 60 | notices | GB copied | pageable over 1 MB | GB page-locked | races |
|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("rows", nargs="*", help="some of the rows, by name")
    parser.add_argument("--save", type=Path, help="the table goes to this file, too")
    args = parser.parse_args()
    table = [HEADER]
    print(HEADER)
    for row in ROWS:
        if not args.rows or row.name in args.rows:
            began = time.monotonic()
            table.append(line(row, run(args.home.expanduser().absolute(), row)))
            print(table[-1], f"{time.monotonic() - began:.0f} s", flush=True)
    if args.save:
        args.save.write_text("\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
