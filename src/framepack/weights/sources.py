"""Where a variant's folders are: bundled, below `--models-dir`, or in the Hugging Face cache. Looks, never fetches.

Boundary: knows repositories, folders and sizes; opens no weights, reads neither the environment nor the network.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, try_to_load_from_cache

from framepack.files.assets import bundled_root
from framepack.models.checkpoint import CheckpointError, read_config, weight_files
from framepack.models.families import FAMILIES
from framepack.models.family import Component
from framepack.spec.variants import PUBLISHED, VARIANTS, Variant
from framepack.weights.sums import Stamps

Where = Literal["bundled", "models-dir", "cache", "nowhere"]


class MissingModelError(ValueError):
    """A variant whose folders are nowhere, or not complete; the message says which and how to get them."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Where models may be, and how the hub is asked for them. Filled by the application from flags and settings."""

    models_dir: Path | None = None
    """A folder of `<organisation>/<repository>` folders; looked at before the Hugging Face cache."""
    cache_dir: Path | None = None
    """The Hugging Face cache; None: where huggingface_hub keeps it."""
    revision: str | None = None
    """Branch, tag or commit of the transformer's repository; None: its main branch."""
    offline: bool = False
    """Never ask the hub (HF_HUB_OFFLINE has the same effect)."""
    endpoint: str | None = None
    """Another hub than huggingface.co, such as a mirror."""

    @property
    def stamps(self) -> Stamps:
        """Which files `models verify` found right."""
        return Stamps((self.cache_dir or Path(constants.HF_ASSETS_CACHE)) / "framepack" / "verified.json")

    def require_models_dir(self) -> None:
        """MissingModelError where `models_dir` is no folder: it would be passed over in silence."""
        if self.models_dir is not None and not self.models_dir.is_dir():
            raise MissingModelError(f"{self.models_dir} is not a folder: --models-dir must name one that holds models")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What a variant takes from one repository."""

    name: str
    """What the family calls it."""
    repo: str
    components: tuple[Component, ...]
    revision: str | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders in it that are needed; `""` is its root."""
        return tuple(folder for component in self.components for folder in component.folders)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one repository was found."""

    repository: Repository
    where: Where
    path: Path | None
    """None only when something is missing."""
    missing: tuple[str, ...]
    """What is not there, a phrase each; empty when it is complete."""

    @property
    def size(self) -> int:
        """Bytes on disk of the folders needed."""
        return sum(file.stat().st_size for file in self.files)

    @property
    def files(self) -> list[Path]:
        """The files in the folders needed, shards of weights and small ones."""
        if self.path is None:
            return []
        folders = [self.path / folder for folder in self.repository.folders]
        return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir() if file.is_file())


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A line of `framepack models list`."""

    variant: str
    repo: str
    where: Where
    path: Path | None
    size: int
    """Bytes on disk; 0 when it is nowhere."""
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything needed is there."""
        return not self.missing


def repositories(variant: Variant, revision: str | None = None) -> tuple[Repository, ...]:
    """Those of a variant, in its order; the revision is of the first."""
    family = FAMILIES[variant.family]
    return tuple(
        Repository(
            name=name,
            repo=repo,
            components=tuple(component for component in family.components if component.place == name),
            revision=revision if repo == variant.main else None,
        )
        for name, repo in variant.repositories.items()
    )


def locate(variant: Variant, source: ModelSource) -> tuple[Place, ...]:
    """Where each of `repositories(variant)` is. The first complete place wins, else the first that has any of it.

    A bundled variant brings its own small text encoders and VAE under the names of the public ones, so all of its
    repositories come from one root: `--models-dir` when its main one is there, else the package.
    """
    wanted = repositories(variant, source.revision)
    if not variant.bundled:
        return tuple(_locate_one(repository, source) for repository in wanted)
    root = bundled_root(variant.main, source.models_dir)
    where = "models-dir" if root == source.models_dir else "bundled"
    return tuple(_place(repository, where, root / repository.repo) for repository in wanted)


def require(variant: Variant, source: ModelSource) -> dict[str, Path]:
    """The folder of each repository by the family's name of it; MissingModelError when something is not there."""
    source.require_models_dir()
    places = locate(variant, source)
    if lacking := [place for place in places if place.missing]:
        what = "; ".join(f"{place.repository.repo} ({', '.join(place.missing)})" for place in lacking)
        if variant.bundled:
            fix = "Install the package again, or name a folder that holds it with --models-dir."
        else:
            size = f"about {to_fetch(places) / 1e9:.1f} GB"
            download = f"framepack models download {variant.name}"
            fix = f"Run `{download}` ({size}), or name a folder that holds it with --models-dir."
        looked = f" in {source.models_dir} or elsewhere" if source.models_dir is not None else ""
        raise MissingModelError(f"Model {variant.name!r} is not complete{looked}: {what}. {fix}")
    return {place.repository.name: place.path for place in places if place.path is not None}


def passed_over(variant: Variant, source: ModelSource) -> Iterator[str]:
    """A sentence for what `source` names and the variant does not take: a folder of models, a revision."""
    places = locate(variant, source)
    others = [place for place in places if place.where in ("bundled", "cache")]
    if source.models_dir is not None and others:
        lacks = ", ".join(place.repository.repo for place in others)
        instead = "the bundled model is" if variant.bundled else "what the Hugging Face cache has is"
        yield f"{source.models_dir} has no complete {lacks}: {instead} used instead"
    if source.revision is not None and places[0].where in ("bundled", "models-dir"):
        why = "comes with the package" if places[0].where == "bundled" else f"is a folder in {source.models_dir}"
        yield f"--revision {source.revision} has no effect: the model {why}, where there is no choice of revisions"


def to_fetch(places: tuple[Place, ...]) -> int:
    """About how many bytes the incomplete ones lack, as far as their published size is known."""
    lacks = (PUBLISHED.get(place.repository.repo, 0.0) - place.size for place in places if place.missing)
    return round(sum(max(lack, 0.0) for lack in lacks))


def list_models(source: ModelSource) -> list[ModelRow]:
    """One row for each repository of each variant."""
    return [
        ModelRow(
            variant=variant.name,
            repo=place.repository.repo,
            where=place.where,
            path=place.path,
            size=place.size,
            missing=place.missing,
        )
        for variant in VARIANTS.values()
        for place in locate(variant, source)
    ]


def _locate_one(repository: Repository, source: ModelSource) -> Place:
    found = []
    if source.models_dir is not None and (folder := source.models_dir / repository.repo).is_dir():
        found.append(_place(repository, "models-dir", folder))
    if (folder := cached(repository, source.cache_dir)) is not None:
        found.append(_place(repository, "cache", folder))
    nowhere = Place(repository=repository, where="nowhere", path=None, missing=("not found",))
    return next((place for place in found if not place.missing), found[0] if found else nowhere)


def cached(repository: Repository, cache_dir: Path | None) -> Path | None:
    """The repository's snapshot in the Hugging Face cache, complete or not; None when nothing of it is there."""
    names = ("config.json", "tokenizer_config.json", "preprocessor_config.json")
    for folder in repository.folders:
        for name in names:
            file = try_to_load_from_cache(
                repository.repo,
                f"{folder}/{name}" if folder else name,
                cache_dir=cache_dir or constants.HF_HUB_CACHE,
                revision=repository.revision,
            )
            if isinstance(file, str):
                return Path(file).parent.parent if folder else Path(file).parent
    return None


def _place(repository: Repository, where: Where, path: Path) -> Place:
    missing = []
    for component in repository.components:
        for folder in component.folders:
            try:
                _demand(path / folder, folder, component.small.get(folder))
            except CheckpointError as error:
                reason = str(error).split("; ")[0]
                missing.append(reason.replace(f"{path}/", ""))
    return Place(repository=repository, where=where, path=path, missing=tuple(missing))


def _demand(path: Path, folder: str, files: tuple[str, ...] | None) -> None:
    """CheckpointError unless the folder has one of these files; None: a config and weights."""
    if not path.is_dir():
        raise CheckpointError(f"{folder or path.name} is missing")
    if files is None:
        read_config(path)
        weight_files(path)
    elif not any((path / name).is_file() for name in files):
        raise CheckpointError(f"{folder}/{files[0]} is missing")
