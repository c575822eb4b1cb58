"""A training that starts from the weights of an existing mini model.

Its resume checkpoint is not needed, only the folder that `framepack generate --models-dir` opens. The optimizer's state
is new. Boundary: reads what `export` wrote; trains nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from safetensors import safe_open
from torch import Tensor

from framepack.models.checkpoint import read_config
from framepack.models.hunyuan.vae import load_vae
from framepack.training.optimizer import Optimizer
from framepack.training.transformer.export import MODEL, TOWERS, TRAINED
from framepack.weights.sums import check_when_loaded

MARK = "start.json"
"""In a run's folder: the step and samples of the model that it started from."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A models folder, and how long its model was trained."""

    folder: Path
    step: int
    samples: int

    def record(self, run: Path) -> None:
        """Write into a run's folder that it started here; ValueError where the folder holds another run."""
        mark, own = run / MARK, {"step": self.step, "samples": self.samples}
        if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == own:
            return
        if mark.is_file() or any((run / name).exists() for name in ("state", "vae", "vae.fitted")):
            raise ValueError(f"{run} holds a training that did not begin with this model: choose another folder for it")
        run.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(own), encoding="utf-8")

    def vae(self) -> AutoencoderKLHunyuanVideo:
        """Its VAE, float32, on the CPU."""
        check_when_loaded([self.folder / MODEL.repositories["base"] / "vae"], all_known=False)
        return load_vae(self.folder / MODEL.repositories["base"] / "vae").autoencoder.float()

    def load_into(self, optimizer: Optimizer) -> None:
        """Replace the new weights by its own; ValueError for a model of another shape."""
        try:
            optimizer.load_weights(self._weights())
        except ValueError as error:
            message = f"{error} the recipe's: begin with a model that the same recipe made, not {self.folder}"
            raise ValueError(message) from None

    def _weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = {}
        for prefix, file in (("transformer.", _transformer(self.folder)), *_towers(self.folder)):
            with safe_open(file, "pt") as tensors:
                weights |= {prefix + name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
        return weights


def read_start(folder: Path) -> Start:
    """The model in `folder`, a models folder; ValueError where there is none or its steps were not recorded."""
    used = [_transformer(folder), *(file for _, file in _towers(folder))]
    missing = [file for file in used if not file.is_file()]
    if missing:
        raise ValueError(f"there is no mini model in {folder}: {missing[0]} is missing")
    trained = read_config(_transformer(folder).parent).get(TRAINED)
    if trained is None:
        raise ValueError(
            f"the model in {folder} does not say how far its training had come: begin with one that `framepack train` "
            "has made since it writes that down"
        )
    check_when_loaded([file.parent for file in used], all_known=False)
    return Start(folder=folder, step=trained["step"], samples=trained["samples"])


def _transformer(folder: Path) -> Path:
    return folder / MODEL.repositories["transformer"] / "diffusion_pytorch_model.safetensors"


def _towers(folder: Path) -> list[tuple[str, Path]]:
    return [(prefix, folder / place / "model.safetensors") for prefix, place in TOWERS.items()]
