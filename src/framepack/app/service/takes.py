"""Takes of a finished job's video: queue another one, list them as a tree, drop what they are made of.

A take is a job of its own, whose work folder begins with the sections that it shares. Its request says the whole way to
it, so the tree is known even where jobs in between were deleted.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from framepack.jobs.folders import Folders, disk_use
from framepack.jobs.job import Job, new_id, require_status
from framepack.jobs.store import JobStore
from framepack.pipeline.takes import SectionsGone, branch
from framepack.spec.parts import Redo
from framepack.spec.redo import made_in, redone, said_of, section_times, take_of
from framepack.spec.request import GenerationRequest

NUMBERED = re.compile(r"-take-\d+$")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of another take; see `spec.redo.redone`."""

    section: int
    only: bool = True
    prompt: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, section: int | None, from_section: int | None, prompt: str | None, seed: int | None) -> "Wanted":
        """Of the two ways to name a section. Raises ValueError unless it is one of them."""
        if (section is None) == (from_section is None):
            raise ValueError("name either section, which is made anew alone, or from_section, with all made after it")
        number = section if section is not None else from_section
        assert number is not None
        return cls(section=number, only=section is not None, prompt=prompt, seed=seed)


@dataclass(frozen=True, kw_only=True)
class TakeNode:
    """One take in the tree."""

    take: int
    parent: int | None
    """The take it was begun from; None for the first."""
    redo: Redo | None
    """What it made anew; None for the first."""
    job: Job | None
    """None where it was deleted and others were begun from it."""
    sections: tuple[int, ...]
    """For each section, in the order of time, the take that made it."""
    times: tuple[tuple[float, float], ...]
    """From which second to which each section is seen."""


def queue_take(store: JobStore, folders: Folders, job: str, wanted: Wanted) -> Job:
    """Queue another take of a finished job. It shares sections before it is queued, so the job may be deleted then.

    Raises WrongState for a job that is not done, ValueError where the section cannot be redone or the work is gone, and
    for a still.
    """
    old = store.get(job)
    require_status(old, ("done",), "redone")
    request, tree = old.request, old.tree or old.id
    if request.still is not None:
        raise ValueError(f"job {old.id} is a still: nothing in it can be redone; make another one with another seed")
    number = 1 + max(last_take(other) for other in (*store.takes(tree), old))
    made = redone(
        request, wanted.section, only=wanted.only, prompt=wanted.prompt, seed=wanted.seed, take=number
    ).resolved()
    made = with_own_file(made, number)
    name = new_id()
    try:
        branch(folders.work_of(old.id, old.request_json), folders.work_of(name, json.dumps(made.to_store())), made)
    except SectionsGone as gone:
        folders.clear(name)
        raise ValueError(
            f"job {old.id}'s sections are not there any more ({gone.why}): make the video again, then redo"
        ) from None
    except FileNotFoundError as error:
        folders.clear(name)
        missing = Path(str(error.filename)).name
        raise ValueError(f"{missing}, of which job {old.id} is made, is not there any more: put it back") from None
    except BaseException:
        folders.clear(name)
        raise
    label = f"take {number}: {said_of(made.redo[-1])}"
    (queued,) = store.submit([made], labels=[label], machine=old.machine, ids=[name], tree=tree)
    return queued


def last_take(job: Job) -> int:
    """The highest number of a take that a job's request knows, without a look at the rest of it."""
    redo = json.loads(job.request_json).get("redo") or ()
    return max((int(one["take"]) for one in redo), default=1)


def with_own_file(request: GenerationRequest, number: int) -> GenerationRequest:
    """The request with a file of its own beside the one its first take names; the service's names are its own."""
    path = request.output.path
    if path is None:
        return request
    own = path.with_stem(f"{NUMBERED.sub('', path.stem)}-take-{number}")
    return request.model_copy(update={"output": request.output.model_copy(update={"path": own, "overwrite": False})})


def takes_of(store: JobStore, job: Job) -> list[TakeNode]:
    """All takes of a job's video by number; of deleted ones those from which another was begun."""
    nodes: dict[int, TakeNode] = {}
    for other in store.takes(job.tree or job.id):
        if other.damaged:
            continue
        request = other.request
        for count in range(len(request.redo)):  # those on its way, which may be gone
            before = node_of(request.model_copy(update={"redo": request.redo[:count]}), None)
            nodes.setdefault(before.take, before)
        nodes[take_of(request)] = node_of(request, other)
    return [nodes[number] for number in sorted(nodes)]


def node_of(request: GenerationRequest, job: Job | None) -> TakeNode:
    """The take that a request makes."""
    redo = request.redo
    parent = (redo[-2].take if len(redo) > 1 else 1) if redo else None
    return TakeNode(
        take=take_of(request),
        parent=parent,
        redo=redo[-1] if redo else None,
        job=job,
        sections=tuple(made_in(request)),
        times=tuple(section_times(request)),
    )


def drop_sections(store: JobStore, folders: Folders, job: str) -> bool:
    """Delete what a finished job keeps for other takes; what others share stays theirs. Whether there was anything."""
    require_status(store.get(job), ("done",), "cleaned")
    kept = bool(disk_use(folders.work(job)))
    folders.clear(job)
    return kept


def tree_lines(nodes: Iterable[TakeNode]) -> list[str]:
    """The takes as a tree, for a terminal, below a line with the sections' times."""
    nodes = list(nodes)
    times = [f"{number}: {first:.3g}..{end:.3g} s" for number, (first, end) in enumerate(nodes[0].times, 1)]

    def below(parent: int | None, indent: str) -> list[str]:
        found = [node for node in nodes if node.parent == parent]
        lines: list[str] = []
        for node in found:
            last = node is found[-1]
            branch, rest = ("", "") if parent is None else ("`- ", "   ") if last else ("|- ", "|  ")
            lines += [f"{indent}{branch}{node_line(node)}", *below(node.take, indent + rest)]
        return lines

    return [f"sections {', '.join(times)}", *below(None, "")]


def node_line(node: TakeNode) -> str:
    """One take in a line."""
    what = "" if node.redo is None else f"  {said_of(node.redo)}, seed {node.redo.seed}"
    where = "deleted" if node.job is None else f"{node.job.id}  {node.job.status}"
    made = " ".join(map(str, node.sections))
    files = "" if node.job is None else "".join(f"  {file}" for file in node.job.outputs)
    return f"take {node.take}  {where}{what}  [{made}]{files}"
