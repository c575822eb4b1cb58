"""The table of `gpu_memory.py`: medians over the turns, shares of the resident speed, as markdown and as JSON."""

import json
import statistics
from pathlib import Path
from typing import Any

GB = 1_000_000_000
FULL_BYTES = 25.75 * GB
"""Of the full transformer's weights in bf16."""
Turns = dict[str, list[dict[str, Any]]]
"""What each turn of each row took."""


def table(facts: dict[str, Any], turns: Turns) -> list[str]:
    """What was measured so far, as markdown. facts: of the machine and the work."""
    rows = {name: summarise(all_turns) for name, all_turns in turns.items() if all_turns}
    resident = rows.get("ours resident", {}).get("seconds")
    lines = [
        f"{facts['device']}, {facts['versions']}, {facts['date']}; GEMM {facts['gemm'] / 1e12:.1f} TFLOP/s, "
        f"pinned {facts['pinned'] / GB:.1f} GB/s, pageable {facts['pageable'] / GB:.1f} GB/s; "
        f"{facts['size']}, weights {facts['weights'] / GB:.2f} GB, "
        f"activations foreseen {facts['activations'] / GB:.2f} GB, in rows {facts['in rows'] / GB:.2f} GB",
        "",
        "| | s / step | of resident | peak GB | copied GB / step | of pinned rate | host GB | weights |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return lines + [line(name, row, resident, facts["pinned"]) for name, row in rows.items()]


def line(name: str, row: dict[str, Any], resident: float | None, pinned: float) -> str:
    """One row; resident: seconds of our step with all weights on the device, pinned: bytes a second."""
    if "seconds" not in row:
        return f"| {name} | {row['failed']} | | {row['peak'] / GB:.2f} | | | {row['host'] / GB:.1f} | |"
    share = f"{resident / row['seconds']:.3f}" if resident else ""
    copied = row.get("copied", 0.0)
    rate = f"{copied / row['seconds'] / pinned:.2f}" if copied else ""
    return (
        f"| {name} | {row['seconds']:.3f} | {share} | {row['peak'] / GB:.2f} | {copied / GB:.2f} | {rate} | "
        f"{row['host'] / GB:.1f} | {row.get('where', '')} |"
    )


def summarise(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of the turns' seconds, the largest of their peaks."""
    done = [turn for turn in turns if "seconds" in turn]
    if not done:
        return turns[-1]
    return {
        **done[-1],
        "seconds": statistics.median(turn["seconds"] for turn in done),
        "peak": max(turn["peak"] for turn in done),
    }


def save(file: Path | None, facts: dict[str, Any], turns: Turns) -> None:
    """Write the table, and the numbers beside it as JSON."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(table(facts, turns)) + "\n")
        file.with_suffix(".json").write_text(json.dumps({"machine": facts, "turns": turns}, indent=1))
