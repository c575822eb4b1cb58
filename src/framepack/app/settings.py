"""Settings of this machine, from the environment. Only `app` reads the environment or argv."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from framepack.files.names import from_home


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where things are. Each has an environment variable and a command-line option that goes before it."""

    models_dir: Path | None = None
    """FRAMEPACK_MODELS_DIR: a folder with the public repositories' layout, searched before the hub."""
    outputs: Path = Path("outputs")
    """FRAMEPACK_OUTPUTS: where videos go that were given no name."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the FRAMEPACK_ variables."""
        models = environment.get("FRAMEPACK_MODELS_DIR")
        return cls(
            models_dir=Path(from_home(models)) if models else None,
            outputs=Path(from_home(environment.get("FRAMEPACK_OUTPUTS") or "outputs")),
        )
