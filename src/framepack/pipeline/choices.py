"""How a job's work is done in the memory there is: how many tokens at a time, and the VAE whole, in rows or in tiles.

From what is exact the fastest that fits is taken; tiles, which leave faint seams, only where that is allowed.
Boundary: arithmetic on what `costs` says; moves nothing.
"""

from dataclasses import dataclass, replace
from typing import Literal

from framepack.memory import Effort
from framepack.memory.placement import Resident, Streamed, place
from framepack.memory.rehearsal import Cost
from framepack.memory.units import Split
from framepack.pipeline.costs import Costs, Size
from framepack.spec.events import Part, Way

Tiling = Literal["never", "allow", "always"]
TILING: tuple[Tiling, ...] = ("never", "allow", "always")
ROWS = (4096, 1024)
"""Tokens at a time where activations are short of room."""
LIBRARIES = 250_000_000
"""What kernels' workspaces and the allocator's rounding take on a real device, beside a tenth of the activations."""
ACCELERATORS = ("cuda", "mps", "meta")
"""Kinds of device with memory of their own; meta stands for one that is only planned for."""
PLANNED = Effort(rung="as planned")


class TilingRefusedError(ValueError):
    """The VAE fits only in tiles, which change the picture, and nobody allowed them."""


class TooSmallError(ValueError):
    """The device is too small for a job of this size, whatever is done to save memory."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """How the work is to be done, and what each part then needs."""

    size: Size
    costs: Costs
    device: str
    """Its kind: cpu, or one of ACCELERATORS."""
    tiling: Tiling = "never"
    rows: int | None = None
    encode: Way = "whole"
    decode: Way = "whole"

    def rows_at(self, effort: Effort) -> int | None:
        """Tokens at a time: the planned number, or fewer where the effort says so."""
        return min((rows for rows in (self.rows, effort.rows) if rows), default=None)

    def encode_at(self, effort: Effort) -> Way:
        """How the VAE is to encode a picture."""
        return "tiled" if effort.tiled else self.encode

    def decode_at(self, effort: Effort) -> Way:
        """How the VAE is to decode a clip: as planned, or with less memory where the effort says so."""
        if effort.tiled:
            return "tiled"
        return "rows" if effort.rows and self.decode == "whole" else self.decode

    def cost(self, part: Part, effort: Effort = PLANNED) -> Cost:
        """What one pass of a part costs."""
        if part == "text":
            return self.costs.text(self.size)
        if part == "image":
            return self.costs.image()
        if part == "prepare":
            return self.costs.prepare(self.size)
        if part == "sample":
            return self.costs.step(self.size, self.rows_at(effort))
        if part == "encode":
            return self.costs.encode(self.size, self.encode_at(effort))
        return self.costs.decode(self.size, self.decode_at(effort))

    def room(self, part: Part, effort: Effort = PLANNED) -> int:
        """Bytes that weights must leave free for a part: what it is foreseen to take, and what libraries add."""
        return with_libraries(self.cost(part, effort).activations, self.device)


def with_libraries(activations: int, device: str) -> int:
    """Activations, and on a real accelerator what is needed around them."""
    return activations + activations // 10 + LIBRARIES if device in ACCELERATORS else activations


def check_tiling(tiling: str) -> None:
    """Raise ValueError for what is not one of TILING."""
    if tiling not in TILING:
        raise ValueError(f"vae-tiling must be one of {', '.join(TILING)}, got {tiling!r}")


def choose(first: Choices, units: Split, vae: int, room: int) -> Choices:
    """The fastest ways in `room` bytes. units: the transformer's; vae: bytes of its weights.

    Raises TilingRefusedError where only tiles would fit and they are not allowed; TooSmallError on an accelerator that
    nothing would fit.
    """
    check_tiling(first.tiling)
    chosen = replace(first, rows=_rows(first, units, room))
    return replace(chosen, encode=_encode(chosen, vae, room), decode=_decode(chosen, units, vae, room))


def _rows(choices: Choices, units: Split, room: int) -> int | None:
    """All tokens at once, unless fewer at a time leave the blocks so much room that a tenth less is streamed."""
    best, least = None, None
    for rows in (None, *ROWS):
        need, placement = _sampling(replace(choices, rows=rows), units, room)
        streamed = placement.streamed_bytes
        fits = need + 2 * max((unit.nbytes for unit in units.blocks), default=0) <= room
        score = (not fits, streamed)
        if least is None or score < (least[0], 0.9 * least[1]):
            best, least = rows, score
        if score == (False, 0):
            break
    return best


def _encode(choices: Choices, vae: int, room: int) -> Way:
    """A picture alone is encoded whole or, with leave, in tiles."""
    return _first(choices, "encode", ("whole",), vae, room)


def _sampling(choices: Choices, units: Split, room: int) -> tuple[int, Resident | Streamed]:
    """Bytes that a step takes beside its blocks, and where these are."""
    need = choices.room("sample") + units.rest.nbytes
    return need, place([unit.nbytes for unit in units.blocks], room - need)


def _decode(choices: Choices, units: Split, vae: int, room: int) -> Way:
    """Whole is a little faster, unless it drives blocks off the device that come back for each section."""
    kept = _sampling(choices, units, room)[1].device_bytes + units.rest.nbytes

    def again(way: Way) -> int:
        return min(kept, max(0, kept + vae + _with(choices, "decode", way).room("decode") - room))

    spared = again("whole") - again("rows") if choices.device in ACCELERATORS else 0
    return _first(choices, "decode", ("rows",) if spared > kept // 10 else ("whole", "rows"), vae, room)


def _first(choices: Choices, part: Literal["encode", "decode"], exact: tuple[Way, ...], vae: int, room: int) -> Way:
    """The first way that fits; else tiles, with leave; else the last exact one, on devices where that is no crime."""
    if choices.tiling == "always":
        return "tiled"
    needs = {}
    for way in exact:
        needs[way] = vae + _with(choices, part, way).room(part)
        if needs[way] <= room:
            return way
    least = min(needs, key=lambda way: needs[way])
    needs["tiled"] = vae + _with(choices, part, "tiled").room(part)
    size = f"{choices.size.width}x{choices.size.height}"
    if needs["tiled"] <= room:
        if choices.tiling == "allow":
            return "tiled"
        raise TilingRefusedError(
            f"to {part} {size} exactly takes {_gb(needs[least])} on the device, of which {_gb(room)} may be used: "
            f"allow tiles, which leave faint seams ({_gb(needs['tiled'])}), with --vae-tiling allow, "
            "or choose a smaller size"
        )
    if choices.device in ACCELERATORS:
        raise TooSmallError(
            f"to {part} {size} takes {_gb(needs['tiled'])} on the device even in tiles, and {_gb(room)} may be used: "
            "choose a smaller size, or close other programs that use the device"
        )
    return "tiled" if choices.tiling == "allow" else least


def _with(choices: Choices, part: Literal["encode", "decode"], way: Way) -> Choices:
    return replace(choices, encode=way) if part == "encode" else replace(choices, decode=way)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
