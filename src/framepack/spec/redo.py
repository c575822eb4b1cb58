"""Takes of a video: which sections each one makes anew, and which take made a section. No tensors, no files.

A request carries the whole way to its take: `redo` has one entry for each take between the first one and this. People
count sections from 1 in the order of time; plans have them in the order they are made, from 0.
"""

from hashlib import blake2b
from itertools import pairwise

from framepack.spec.parts import Redo
from framepack.spec.prompt_times import is_timed
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import is_backward, tiles_of
from framepack.spec.variants import VARIANTS


def section_count(request: GenerationRequest) -> int:
    """Sections of the video."""
    return len(tiles_of(request))


def index_of(request: GenerationRequest, section: int) -> int:
    """The place in the plan of a section that people call `section`. Raises ValueError where there is none."""
    count = section_count(request)
    if not 1 <= section <= count:
        raise ValueError(f"section must be 1..{count}, as the video has {count} sections, got {section}")
    return count - section if is_backward(request) else section - 1


def number_of(request: GenerationRequest, index: int) -> int:
    """What people call the section at a place in the plan."""
    return section_count(request) - index if is_backward(request) else index + 1


def section_times(request: GenerationRequest) -> list[tuple[float, float]]:
    """From which second to which each section is seen, in the order of time."""
    total, window, geometry = request.latent_count, request.window, request.geometry
    length = request.frame_count / geometry.fps
    ends = sorted(geometry.seconds_of(tile.stop - 1, total, window) for tile in tiles_of(request))
    return [(begin, min(end, length)) for begin, end in pairwise([0.0, *ends])]


def take_of(request: GenerationRequest) -> int:
    """The number of the take that a request makes; the first one is 1."""
    return request.redo[-1].take if request.redo else 1


def made_anew(request: GenerationRequest) -> range:
    """The places in the plan of the sections that the request's take makes itself; the others it shares."""
    count = section_count(request)
    if not request.redo:
        return range(count)
    first = index_of(request, request.redo[-1].section)
    return range(first, first + 1 if request.redo[-1].only else count)


def made_in(request: GenerationRequest) -> list[int]:
    """For each section, in the order of time, the number of the take that made it."""
    makers = [1] * section_count(request)
    for last in range(len(request.redo)):
        before = request.model_copy(update={"redo": request.redo[: last + 1]})
        for index in made_anew(before):
            makers[number_of(request, index) - 1] = request.redo[last].take
    return makers


def redone(
    request: GenerationRequest,
    section: int,
    *,
    only: bool = True,
    prompt: str | None = None,
    seed: int | None = None,
    take: int | None = None,
) -> GenerationRequest:
    """The request of another take, in which `section`, counted from 1 in the order of time, is made anew.

    only: its neighbours stay as they are; else all that are made after it are made again too. seed: without one the
    noise is another in each take. take: its number, the next one where nothing is said.
    Raises ValueError for a section there is not, and where the model cannot see a neighbour that lies later.
    """
    if request.still is not None:
        raise ValueError("a still is one frame, in which nothing can be made anew: make another still")
    if prompt is not None and is_timed(prompt):
        raise ValueError(f"a section has one text: leave the times out of the prompt, got {prompt[:60]!r}")
    index = index_of(request, section)
    variant, last = VARIANTS[request.model], section_count(request) - 1
    if only and not is_backward(request) and index < last and not variant.keyframes_ahead:
        raise ValueError(
            f"{request.model} has no slot for later frames, so it cannot make section {section} alone: "
            "redo from this section on (--from-section), or use model framepack"
        )
    take = take_of(request) + 1 if take is None else take
    made = Redo(
        section=section,
        only=only,
        seed=salted(request.seed, section, take) if seed is None else seed,
        prompt=prompt,
        take=take,
    )
    return GenerationRequest.model_validate(request.model_dump() | {"redo": (*request.redo, made)})


def salted(seed: int, section: int, take: int) -> int:
    """A seed of its own for each section of each take, 0 .. 2**63 - 1."""
    return int.from_bytes(blake2b(f"{seed} {section} {take}".encode(), digest_size=8).digest(), "big") >> 1


def said_of(redo: Redo) -> str:
    """What was made anew, for people."""
    what = f"section {redo.section}" if redo.only else f"from section {redo.section}"
    return what if redo.prompt is None else f"{what}, {redo.prompt!r}"
