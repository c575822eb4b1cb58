"""100 damages of the bundled model's files, and what `models verify` and `generate` say of each.

    python benchmarks/damaged_weights.py [--save]

Each damage is done to one file of a copy that has its SHA256SUMS. verify must find all of them; with a sample of them
`generate` must end in a sentence. Then the same without SHA256SUMS, where only what the numbers tell can be found:
counted, not promised.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from framepack.files.assets import BUNDLED
from framepack.spec.variants import VARIANTS
from framepack.weights.sources import ModelSource
from framepack.weights.sums import SUMS
from framepack.weights.verify import verify

MINI = BUNDLED / "mini"
SAMPLE = 10
"""Every so many of the damages `generate` is tried as well: it takes seconds each."""
ATTEMPTS = 20
"""Places that are tried: zeros over zeros are no damage."""
Damage = Callable[[Path, np.random.Generator], None]
Tensors = dict[str, Tensor]


def tensors(change: Callable[[Tensors, str, np.random.Generator], object]) -> Damage:
    """A damage that rewrites the file with a tensor changed: a large matrix, drawn."""

    def damage(file: Path, random: np.random.Generator) -> None:
        weights = load_file(file)
        large = sorted(name for name, tensor in weights.items() if tensor.ndim > 1 and tensor.numel() >= 1024)
        change(weights, str(random.choice(large)), random)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, file, metadata={"format": "pt"})

    return damage


def put(value: float) -> Damage:
    """One number of a tensor becomes `value`."""

    def change(weights: Tensors, name: str, random: np.random.Generator) -> None:
        weights[name].view(-1)[int(random.integers(weights[name].numel()))] = value

    return tensors(change)


def cast(dtype: torch.dtype) -> Damage:
    """A tensor has another type."""
    return tensors(lambda weights, name, random: weights.update({name: weights[name].float().mul(50).to(dtype)}))


def exchange(weights: Tensors, name: str, random: np.random.Generator) -> None:
    """Two tensors of one shape change places; where there is only one, its halves do."""
    twins = [other for other in weights if other != name and weights[other].shape == weights[name].shape]
    if twins:
        other = str(random.choice(twins))
        weights[name], weights[other] = weights[other], weights[name]
    else:
        weights[name] = weights[name].roll(len(weights[name]) // 2, 0)


def patch(length: int, make: Callable[[bytes, np.random.Generator], bytes]) -> Damage:
    """So many bytes of the file, behind its header, become others."""

    def damage(file: Path, random: np.random.Generator) -> None:
        content = bytearray(file.read_bytes())
        begin = 8 + int.from_bytes(content[:8], "little") if file.suffix == ".safetensors" else 0
        size = min(length, len(content) - begin)
        at = begin + int(random.integers(len(content) - begin - size + 1))
        content[at : at + size] = make(bytes(content[at : at + size]), random)
        file.write_bytes(content)

    return damage


def flip(piece: bytes, random: np.random.Generator) -> bytes:
    """One bit."""
    return bytes([piece[0] ^ (1 << int(random.integers(8)))]) + piece[1:]


def resize(by: int) -> Damage:
    """Bytes cut from the end, or added."""

    def damage(file: Path, random: np.random.Generator) -> None:
        content = file.read_bytes()
        file.write_bytes(content[:by] if by < 0 else content + bytes(by))

    return damage


def other_model(file: Path, random: np.random.Generator) -> None:
    """Another component's file under this name."""
    others = [other for other in sorted(MINI.rglob(f"*{file.suffix}")) if other.read_bytes() != file.read_bytes()]
    shutil.copyfile(others[int(random.integers(len(others)))], file)


WEIGHTS: dict[str, Damage] = {
    "a NaN": put(float("nan")),
    "an infinity": put(float("inf")),
    "a number of 1e30": put(1e30),
    "int8": cast(torch.int8),
    "float8": cast(torch.float8_e4m3fn),
    "tensors exchanged": tensors(exchange),
    "rows shuffled": tensors(lambda w, n, random: w.update({n: w[n][torch.randperm(len(w[n]))]})),
    "sign changed": tensors(lambda w, n, random: w.update({n: -w[n]})),
    "a tensor missing": tensors(lambda w, n, random: w.pop(n)),
    "a bit flipped": patch(1, flip),
    "another bit flipped": patch(1, flip),
    "64 kB of zeros": patch(65536, lambda piece, random: bytes(len(piece))),
    "64 kB of noise": patch(65536, lambda piece, random: random.bytes(len(piece))),
    "cut short": resize(-1000),
    "100 bytes more": resize(100),
    "another file": other_model,
}
SMALL: dict[str, Damage] = {
    "a bit flipped": patch(1, flip),
    "deleted": lambda file, random: file.unlink(),
}


def link(source: str, target: str) -> None:
    """Another name for a file, a copy where the disks differ."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def damages() -> Iterator[tuple[str, Path, Damage]]:
    """Name, file below the model's folder, and what is done to it."""
    for file in sorted(MINI.rglob("*")):
        table = WEIGHTS if file.suffix == ".safetensors" else SMALL if file.suffix == ".json" else {}
        for name, damage in table.items():
            yield name, file.relative_to(MINI), damage


def damaged(folder: Path, file: Path, damage: Damage, seed: int) -> Path:
    """A copy of the model with one file damaged, the others linked; its SHA256SUMS is the sound model's."""
    shutil.copytree(MINI, folder, copy_function=link)
    target = folder / file
    own = target.read_bytes()
    target.unlink()
    for attempt in range(ATTEMPTS):
        target.write_bytes(own)
        torch.manual_seed(seed)
        damage(target, np.random.default_rng((seed, attempt)))
        if not target.exists() or target.read_bytes() != own:
            return folder
    raise ValueError(f"{file}: the damage changes nothing")


def is_found(folder: Path) -> bool:
    """Whether `models verify` says that something is wrong."""
    source = ModelSource(models_dir=folder, cache_dir=folder / "cache")
    return any(verdict.problems for verdict in verify(VARIANTS["mini"], source))


def said_by_generate(folder: Path) -> str:
    """What `generate` says at the end; empty where it makes a video."""
    picture = Path(__file__).parents[1] / "examples" / "ball.jpg"
    video = folder.with_suffix(".mp4")
    options = ["--seconds", "0.4", "--steps", "2", "--window", "3", "--models-dir", folder, "-o", video]
    command = [sys.executable, "-c", "from framepack.app.cli.main import main; main()", "generate", picture, *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode == 0) == video.exists()
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--save", action="store_true")
    options.add_argument("--sample", type=int, default=SAMPLE, help="Try `generate` with every so many of them.")
    given = options.parse_args()
    save, sample = given.save, given.sample
    began, found, refused, blind = time.monotonic(), Counter(), Counter(), Counter()
    lines, rows = [], list(damages())
    with tempfile.TemporaryDirectory() as temporary:
        for seed, (name, file, damage) in enumerate(rows):
            folder = damaged(Path(temporary) / f"{seed}", file, damage, seed)
            found[is_found(folder)] += 1
            if seed % sample == 0:
                said = said_by_generate(folder)
                refused[bool(said)] += 1
                lines.append(f"| {name} | {file} | {said.replace(str(folder), '...')[:150]} |")
            (folder / SUMS).unlink()
            blind[name, is_found(folder)] += 1
            shutil.rmtree(folder)
    report = [
        f"{len(rows)} damages with a known sum: verify found {found[True]}; `generate` was tried on "
        f"{refused.total()} and ended in a sentence {refused[True]} times; {time.monotonic() - began:.0f} s.",
        "",
        "Without a known sum verify finds, of each kind (numbers that still look like weights cannot be told):",
        *(
            f"- {name}: {blind[name, True]} of {blind[name, True] + blind[name, False]}"
            for name in dict.fromkeys(name for name, _, _ in rows)
        ),
        "",
        "| damage | file | what `generate` says |",
        "|---|---|---|",
        *lines,
    ]
    print("\n".join(report))
    if save:
        head = f"# damaged_weights.py: 2 cores, Intel Xeon, torch {torch.__version__}, 2026-11-30\n\n"
        file = Path(__file__).parent / "results" / "damaged_weights-cpu-2026-11-30.md"
        file.write_text(head + "\n".join(report) + "\n", encoding="utf-8")
    sys.exit(0 if not found[False] and not refused[False] else 1)


if __name__ == "__main__":
    main()
