"""Begins another take of a finished video: a work folder that shares the sections which stay.

A shared section is a second name of the same file (a copy where the disk has no links), so it is stored once, goes with
the last take that has it, and deleting a take leaves what others share. Which sections stay, `spec.redo` knows.
No tensors.
"""

from dataclasses import asdict, replace
from pathlib import Path

from framepack.files.atomic import make_folder, same_file
from framepack.pipeline.seal import DamagedError, read_json, write_json
from framepack.pipeline.section_files import JOB, REQUEST, Record, claim_of, require_ours, section_file, whole_request
from framepack.spec.redo import made_anew, redone, section_count
from framepack.spec.request import GenerationRequest


class SectionsGone(ValueError):  # noqa: N818 - reads as the sentence it is
    """Sections that a take is made of are missing or damaged. `why`: which and how, without a folder."""

    def __init__(self, work: Path, why: str) -> None:
        super().__init__(
            f"{work}: its finished sections are not there any more ({why}): make the video again, then redo"
        )
        self.why = why


def redo(
    work: Path | str,
    folder: Path | str,
    section: int,
    *,
    only: bool = True,
    prompt: str | None = None,
    seed: int | None = None,
    take: int | None = None,
) -> GenerationRequest:
    """Begin another take, in `folder`, of the video whose finished work is in `work`; the request that makes it.

    section: counted from 1 in the order of time. The others are those of `spec.redo.redone`. Generate the request
    with `work=folder`: only what is new is sampled. Raises ValueError for a section that cannot be redone, and where
    the work is not there.
    """
    try:
        request = GenerationRequest.stored(whole_request(read_json(Path(work) / REQUEST)))
    except DamagedError as error:
        raise SectionsGone(Path(work), str(error)) from None
    wanted = redone(request, section, only=only, prompt=prompt, seed=seed, take=take)
    branch(Path(work), Path(folder), wanted)
    return wanted


def branch(work: Path, folder: Path, request: GenerationRequest) -> None:
    """Let `folder` begin with the sections that the take of `request` shares with its parent's `work`.

    The request's file comes last: a folder without it is nothing. Raises ValueError where a section is missing, and
    where `folder` has other things in it.
    """
    make_folder(folder)
    require_ours(folder)
    if (folder / REQUEST).exists():
        raise ValueError(f"{folder} has the work of another video in it: choose an empty folder")
    claim = claim_of(request)
    for index in sorted(set(range(section_count(request))) - set(made_anew(request))):
        file = section_file(work, index)
        try:
            record = Record.read(file.with_suffix(".json"))
            same_file(file, section_file(folder, index))
        except (DamagedError, FileNotFoundError) as error:
            why = f"{file.name} is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise SectionsGone(work, why) from None
        ours = replace(record, job=claim[JOB], settled="", shared=True)
        write_json(section_file(folder, index).with_suffix(".json"), asdict(ours))
    write_json(folder / REQUEST, claim)
