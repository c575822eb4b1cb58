"""Checkpoints on disk -> modules: sharded safetensors, streamed tensor by tensor into modules built on the meta device.

Knows folders, tensor names and shapes; knows no model. Only safetensors is read (no pickle, ever), and what a file is
gets decided by its content. Everything is checked from the files' headers before the first weight is read, and host
memory never exceeds the weights plus one shard.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
STEMS = ("diffusion_pytorch_model", "model")
FIX = "copy it again, or fetch it with `framepack models download`"
FLOATS = {"F64", "F32", "F16", "BF16"}
SMALL_FLOATS = {"F8_E4M3", "F8_E5M2"}
"""Types of plainly cast matrices; norms and biases are never published in them."""


MISFITS = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError),
    StrictDataclassError,
)
"""What constructors of modules and configs raise for values that no model has."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, incomplete or of another architecture; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class NameRules:
    """How the names in a file relate to the module's."""

    prefixes: tuple[str, ...] = ()
    """Wrappers' prefixes that a file may carry and the module may not, or the other way round (`text_model.`)."""
    ignored: tuple[str, ...] = ()
    """Starts or ends of names in the file that the module leaves out on purpose (layers never run, old buffers)."""

    def resolve(self, name: str, expected: Mapping[str, Any]) -> str | None:
        """The module's name for the file's `name`; itself when there is none; None when it is ignored."""
        candidates = [name]
        for prefix in self.prefixes:
            candidates += [name.removeprefix(prefix), prefix + name]
        for candidate in candidates:
            if candidate in expected:
                return candidate
        if any(c.startswith(self.ignored) or c.endswith(self.ignored) for c in candidates if self.ignored):
            return None
        return name


PLAIN = NameRules()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`; CheckpointError when it is missing, unreadable or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the checkpoint is incomplete; {FIX}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {FIX}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(content).__name__}; {FIX}")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's `config.json`."""
    return read_json(folder / "config.json")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder: the shards its index names, or the single file.

    Every file named exists; CheckpointError says which ones do not.
    """
    names = [f"{stem}.safetensors{end}" for stem in STEMS for end in (".index.json", "")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} holds two sets of weights, {found[0].name} and {found[1].name}: move one of them away"
        )
    if found:
        return _shards(found[0]) if found[0].suffix == ".json" else found
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; {FIX}")
    others = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    refused = f" ({', '.join(others)} is not read: only safetensors is)" if others else ""
    raise CheckpointError(f"{folder} holds no {STEMS[0]}.safetensors or {STEMS[1]}.safetensors{refused}; {FIX}")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; {FIX}")
    names = sorted({str(name) for name in weight_map.values()})
    if outside := [name for name in names if Path(name).name != name]:
        raise CheckpointError(f"{index} names a file outside its folder: {outside[0]}")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise CheckpointError(f"{index.parent} lacks {len(missing)} of {len(names)} files: {some(missing)}; {FIX}")
    return [index.parent / name for name in names]


class Stored(NamedTuple):
    """A tensor as a file's header describes it."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors calls it, such as BF16."""

    @property
    def holds_weights(self) -> bool:
        """Whether its type is one that floating-point weights are published in."""
        return self.dtype in FLOATS or (self.dtype in SMALL_FLOATS and len(self.shape) > 1)


def read_header(path: Path) -> dict[str, Stored]:
    """Every tensor in a safetensors file by its name; CheckpointError when the file is damaged."""
    with open_weights(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        return {name: Stored(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}


def count_weights(folder: Path) -> int:
    """Numbers in all weight files of a folder, from their headers."""
    return sum(math.prod(stored.shape) for path in weight_files(folder) for stored in read_header(path).values())


def open_weights(path: Path) -> Any:
    """A safetensors file, open; CheckpointError when it is damaged."""
    try:
        with path.open("rb") as raw:
            if raw.read(11) == b"version htt":
                raise CheckpointError(f"{path} is a git-lfs pointer, not the weights; run `git lfs pull` there")
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}); {FIX}") from None


def check_weights(module: nn.Module, folder: Path, rules: NameRules = PLAIN) -> dict[Path, dict[str, str]]:
    """Compares all names, shapes and types in `folder` with the module's, reading headers only.

    Returns for each file {name in the file: name in the module}. Raises CheckpointError that names what is missing,
    unexpected, of another shape or of a type that weights are not published in, and where.
    """
    expected = module.state_dict()
    found: dict[str, Path] = {}
    plan: dict[Path, dict[str, str]] = {}
    unexpected, misshapen, mistyped = [], [], []
    for path in weight_files(folder):
        plan[path] = {}
        for stored, (shape, dtype) in (header := read_header(path)).items():
            name = rules.resolve(stored, expected)
            if name is None:
                continue
            if name not in expected:
                unexpected.append(f"{stored} in {path.name}")
            elif shape != (wanted := tuple(expected[name].shape)):
                misshapen.append(f"{stored} in {path.name} is {shape}, the model's is {wanted}")
            elif expected[name].is_floating_point() and not header[stored].holds_weights:
                mistyped.append(f"{stored} in {path.name} is {dtype}")
            elif name in found:
                raise CheckpointError(f"{folder}: {name} is in both {found[name].name} and {path.name}")
            else:
                found[name] = path
                plan[path][stored] = name
    if mistyped:
        raise CheckpointError(
            f"{folder} holds {len(mistyped)} weights in types that cannot be used ({some(mistyped, 2)}): "
            f"float32, float16 or bfloat16 is needed; {FIX}"
        )
    wrong_shape = {entry.split(" in ", 1)[0] for entry in misshapen}
    absent = {rules.resolve(name, expected) for name in wrong_shape} | found.keys()
    _complain(folder, missing=[n for n in expected if n not in absent], unexpected=unexpected, misshapen=misshapen)
    return plan


def _complain(folder: Path, *, missing: list[str], unexpected: list[str], misshapen: list[str]) -> None:
    problems = []
    if misshapen:
        problems.append(f"{len(misshapen)} of another shape ({some(misshapen)})")
    if missing:
        problems.append(f"{len(missing)} missing ({some(missing)})")
    if unexpected:
        problems.append(f"{len(unexpected)} unexpected ({some(unexpected)})")
    if problems:
        raise CheckpointError(
            f"{folder} does not fit the model, weights: {'; '.join(problems)}; is its config.json right?"
        )


def some(names: Sequence[str], most: int = 4) -> str:
    """The first ones, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def load_weights(
    module: nn.Module,
    folder: Path,
    dtype: torch.dtype | None = None,
    rules: NameRules = PLAIN,
    buffers: Mapping[str, Tensor] | None = None,
) -> None:
    """Fills a module built on the meta device with the weights in `folder`, in place, on the CPU.

    Floating-point tensors become `dtype` (None: as stored) one by one, so the peak is the weights plus one mapped
    shard. `buffers` are the ones no checkpoint holds (RoPE frequencies, position ids); they keep their own dtype.
    Parameters come without gradients. Raises CheckpointError before anything is read if a name or a shape differs.
    """
    for path, names in check_weights(module, folder, rules).items():
        with open_weights(path) as file:
            for stored, name in names.items():
                try:
                    tensor = file.get_tensor(stored)
                except (SafetensorError, OSError) as error:
                    raise CheckpointError(f"{path} is damaged at {stored} ({error}); {FIX}") from None
                wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
                _assign(module, name, tensor.to(wanted, copy=True))
    fill_buffers(module, buffers or {})


def fill_buffers(module: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """The end of loading: what no checkpoint holds; nothing may be left on the meta device."""
    for name, tensor in buffers.items():
        _assign(module, name, tensor)
    left = [n for n, t in [*module.named_parameters(), *module.named_buffers()] if t.is_meta]
    assert not left, f"nothing filled {left}"


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if isinstance(getattr(owner, leaf), nn.Parameter):
        setattr(owner, leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        setattr(owner, leaf, tensor)


def on_meta(make: Callable[[], M], folder: Path) -> M:
    """A module without memory, in eval mode; CheckpointError when the folder's config does not describe one."""
    with described_by(folder / "config.json"), torch.device("meta"):
        return make().eval()


@contextmanager
def described_by(config: Path) -> Iterator[None]:
    """Around what is built from a file: whatever a wrong value leads to is a CheckpointError that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except MISFITS as error:
        raise CheckpointError(f"{config} does not describe the model: {' '.join(str(error).split())}; {FIX}") from error
