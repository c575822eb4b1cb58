"""What a job may use of the machine. It stands beside the request, as it changes nothing of the video.

Plain data. Options of the command line are made of it, and they are the arguments of `framepack.load`.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from framepack.spec.attention import ATTENTIONS, require_attention
from framepack.spec.dtypes import DTYPES, require_dtype
from framepack.spec.fields import option
from framepack.spec.model import File, Model

Tiling = Literal["never", "allow", "always"]
SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """`6GB`, `6 GiB`, `512mb`, `6000000000` as bytes; ValueError for anything else."""
    match = SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"a size must look like 6GB, 512MB or 6GiB, got {text!r}")
    number, prefix, binary = match.groups()
    power = " kmgt".index(prefix.lower() or " ")
    return int(float(number) * (1024 if binary else 1000) ** power)


def as_size(text: str) -> str | None:
    """A size that can be read; an empty one is none."""
    if text:
        parse_bytes(text)
    return text or None


def as_dtype(name: str) -> str:
    """A dtype there is, or auto."""
    if name != "auto":
        require_dtype(name)
    return name


def as_attention(name: str) -> str:
    """A way to compute attention that is installed."""
    require_attention(name)
    return name


Size = Annotated[str | None, AfterValidator(as_size), Field(json_schema_extra=option(form="SIZE"))]


class MachineOptions(Model):
    """Where a model runs, and how much memory it may use."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    dtype: Annotated[str, AfterValidator(as_dtype), Field(json_schema_extra=option(enum=["auto", *DTYPES]))] = "auto"
    """What the transformer computes in."""
    attention: Annotated[str, AfterValidator(as_attention), Field(json_schema_extra=option(enum=list(ATTENTIONS)))] = (
        "auto"
    )
    """How attention is computed; flash-attn, sage and xformers where they are installed."""
    vram_limit: Size = None
    """Use no more GPU memory than this, such as 6GB. Without a GPU: `plan` is for one of this size; work passes its
    weights through so much RAM as if it were one, which saves nothing and is for tests."""
    ram_limit: Size = None
    """Use no more RAM for weights; others stay on disk."""
    preserve: Size = None
    """GPU memory that weights leave free, for the work itself, such as 6GB."""
    vae_tiling: Tiling = "never"
    """VAE tiles, which leave faint seams. allow: where nothing else fits."""
    models_dir: File | None = None
    """Folder with the public repositories' layout. [env: FRAMEPACK_MODELS_DIR]"""
    revision: str | None = None
    """Branch, tag or commit of the transformer's repository on the hub."""
    offline: bool = False
    """Never ask the network."""


class ServiceOptions(MachineOptions):
    """The same for a service, which may have several workers."""

    device: tuple[str, ...] = ()
    """auto, cpu, cuda:0 ...; one worker each."""
    in_process: bool = False
    """Work in a thread: simpler, but a crash ends it all."""
