"""Damages the queue's file of an open service again and again: is each noticed, and how many jobs are kept?

    python benchmarks/damage_queue.py [--damages 100] [--save FILE]

Each time 60 jobs are queued, one of them claimed, and the file is truncated, overwritten, deleted, replaced or one row
of it spoiled, while the store is open. Noticed means: said so, or the row's job stands as failed; and the queue takes a
new job afterwards.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "jobs"))
from damage import DAMAGES, ROWS, spoil_row
from fake_generator import ask

from framepack.jobs.repair import find_damage
from framepack.jobs.store import JobStore

JOBS = 60


def damage_once(folder: Path, name: str, chance: random.Random) -> tuple[bool, int]:
    """Whether it was noticed and the queue works on, and how many of the jobs can still be read."""
    file = folder / "queue.sqlite"
    with closing(JobStore(file, owner=True)) as store:
        jobs = store.submit([ask(seed=seed, word="w" * 700) for seed in range(JOBS)])
        store.claims.take("w")
        if name == "row":
            column = chance.choice(list(ROWS))
            spoil_row(file, chance.choice(jobs).id, column, chance.choice(ROWS[column]))
        else:
            DAMAGES[name](file, chance)
        store.check()
        store.revision()
        kept = [job for job in store.jobs(limit=-1) if job.status != "failed"]
        failed = store.counts().get("failed", 0)
        noticed = failed == 1 and not store.notices if name == "row" else len(store.notices) == 1
        (new,) = store.submit([ask()])
        works = store.get(new.id).status == "queued" and find_damage(file) == (False, "")
    return noticed and works, len(kept)


def main() -> int:
    """Print a row for each kind; exit code 1 where a damage was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kinds, chance = [*DAMAGES, "row"], random.Random(0)
    met: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    for number in range(options.damages):
        kind = kinds[number % len(kinds)]
        with tempfile.TemporaryDirectory() as name:
            met[kind].append(damage_once(Path(name), kind, chance))
    lines = ["| damage | times | noticed | jobs kept of 60, least and most |", "|---|---|---|---|"]
    for kind, found in met.items():
        kept = [jobs for _, jobs in found]
        lines.append(f"| {kind} | {len(found)} | {sum(ok for ok, _ in found)} | {min(kept)}, {max(kept)} |")
    total = sum(ok for found in met.values() for ok, _ in found)
    lines.append(f"| all | {options.damages} | {total} | |")
    print("\n".join(lines))
    if options.save:
        options.save.write_text("\n".join(lines) + "\n")
    return 0 if total == options.damages else 1


if __name__ == "__main__":
    sys.exit(main())
