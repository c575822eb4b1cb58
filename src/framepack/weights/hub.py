"""Fetching models from the Hugging Face hub: what it would take, then the download, resumable; and known checksums.

Boundary: files and bytes; opens no weights. Asks nobody anything: the caller shows the plan and decides.
"""

import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from httpx2 import Client, HTTPError, InvalidURL
from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from tqdm.asyncio import tqdm

from framepack.spec.variants import Variant
from framepack.weights.sources import ModelSource, Repository, cached, locate, repositories
from framepack.weights.sums import SUMS, checksum, known_sum, read_sums, write_sums

WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(-\d+-of-\d+)?\.safetensors")
SMALL = (".json", ".txt")
RETRY = "check the connection and try again, or copy the repository below a folder and name it with --models-dir"
CONNECTING = ("all_proxy", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")
"""Variables of the environment, whatever their case, that an HTTP client reads when it is made."""
SPARE = 512 * 1024**2
"""Bytes that a download leaves free on the disk."""

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class HubError(ValueError):
    """The hub could not be asked, or has not what was asked for; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file to fetch."""

    name: str
    size: int
    sha256: str | None
    """Known for large files only."""


@dataclass(frozen=True, kw_only=True)
class RepositoryPlan:
    """What one repository still lacks."""

    repository: Repository
    files: tuple[RemoteFile, ...]
    """All files needed, whether here or not."""
    to_fetch: tuple[RemoteFile, ...]


@dataclass(frozen=True, kw_only=True)
class DownloadPlan:
    """To be shown before a download."""

    repositories: tuple[RepositoryPlan, ...]
    target: Path
    """The folder that will hold the files."""
    free: int
    """Bytes free on its disk now."""

    @property
    def total(self) -> int:
        """Bytes of the whole variant."""
        return sum(file.size for plan in self.repositories for file in plan.files)

    @property
    def to_fetch(self) -> int:
        """Bytes still to be fetched."""
        return sum(file.size for plan in self.repositories for file in plan.to_fetch)


def plan_download(variant: Variant, source: ModelSource) -> DownloadPlan:
    """Asks the hub for names and sizes. Fetches nothing; HubError when it cannot be asked."""
    if variant.bundled:
        raise HubError(f"model {variant.name!r} ships inside the package: nothing to download")
    if source.offline or constants.HF_HUB_OFFLINE:
        raise HubError(
            "offline mode is on: nothing can be downloaded. Unset HF_HUB_OFFLINE (or drop the offline flag), "
            "or copy the repositories below a folder and name it with --models-dir"
        )
    check_connection()
    target = source.models_dir or source.cache_dir or Path(constants.HF_HUB_CACHE)
    complete = {place.repository.name for place in locate(variant, source) if not place.missing}
    wanted = repositories(variant, source.revision)
    plans = tuple(_plan_one(repository, source, repository.name in complete) for repository in wanted)
    return DownloadPlan(repositories=plans, target=target, free=shutil.disk_usage(_existing(target)).free)


def check_connection() -> None:
    """Raise HubError where the environment names a proxy or certificates that cannot be used. Asks nobody."""
    try:
        Client().close()
    except (ValueError, InvalidURL, ImportError, OSError) as error:
        named = [name for name in os.environ if name.lower() in CONNECTING and os.environ[name]]
        raise HubError(
            f"the network settings in the environment's {', '.join(sorted(named))} do not work ({_first_line(error)}): "
            "fix or unset them"
        ) from error


def _plan_one(repository: Repository, source: ModelSource, complete: bool) -> RepositoryPlan:
    files = tuple(remote_files(repository, source))
    here = {file.name for file in files if complete or _is_here(repository, source, file)}
    return RepositoryPlan(
        repository=repository, files=files, to_fetch=tuple(file for file in files if file.name not in here)
    )


def _is_here(repository: Repository, source: ModelSource, file: RemoteFile) -> bool:
    if source.models_dir is not None:
        path = source.models_dir / repository.repo / file.name
        return path.is_file() and path.stat().st_size == file.size
    cache = source.cache_dir or constants.HF_HUB_CACHE
    found = try_to_load_from_cache(repository.repo, file.name, cache_dir=cache, revision=repository.revision)
    return isinstance(found, str)


def remote_files(repository: Repository, source: ModelSource) -> Iterator[RemoteFile]:
    """The files of a hub repository that are needed, with sizes and checksums."""
    with _hub_errors(repository, source):
        info = HfApi(endpoint=source.endpoint).model_info(
            repository.repo, revision=repository.revision, files_metadata=True
        )
    for sibling in info.siblings or []:
        path = PurePosixPath(sibling.rfilename)
        folder = "" if str(path.parent) == "." else str(path.parent)
        if folder in repository.folders and (WEIGHTS.fullmatch(path.name) or path.suffix in SMALL):
            sha256 = sibling.lfs.sha256 if sibling.lfs else None
            yield RemoteFile(name=sibling.rfilename, size=sibling.size or 0, sha256=sha256)


def download(plan: DownloadPlan, source: ModelSource, progress: Progress | None = None) -> None:
    """Fetches what the plan lacks; a broken-off download goes on where it stopped. HubError when it cannot.

    Nothing is fetched when the disk would not hold it.
    """
    if plan.to_fetch + SPARE > plan.free:
        raise HubError(
            f"{plan.target} has {_gigabytes(plan.free)} free, the download needs {_gigabytes(plan.to_fetch + SPARE)}: "
            "free some space, or choose another disk with --models-dir or HF_HOME"
        )
    done = 0
    for part in plan.repositories:
        if not part.to_fetch:
            continue
        before = done
        with _hub_errors(part.repository, source):
            snapshot_download(
                part.repository.repo,
                revision=part.repository.revision,
                cache_dir=source.cache_dir,
                local_dir=source.models_dir / part.repository.repo if source.models_dir is not None else None,
                allow_patterns=[file.name for file in part.files],
                endpoint=source.endpoint,
                tqdm_class=_reporter(lambda n, before=before: progress and progress(before + n, plan.to_fetch)),
            )
        keep_sums(part, source)
        done += sum(file.size for file in part.to_fetch)
        if progress is not None:
            progress(done, plan.to_fetch)


def keep_sums(part: RepositoryPlan, source: ModelSource) -> None:
    """Write a SHA256SUMS beside a download where huggingface_hub has left no trace of the hub's checksums.

    That is so on Windows without links, and with mirrors. The hub has no sums of small files: they count as they came.
    """
    here = source.models_dir / part.repository.repo if source.models_dir is not None else None
    folder = here or cached(part.repository, source.cache_dir)
    if folder is None:
        return
    files = {file: folder / file.name for file in part.files}
    kept = {
        file.name: file.sha256 or checksum(path)
        for file, path in files.items()
        if path.is_file() and known_sum(path) is None
    }
    if kept:
        write_sums(folder, read_sums(folder / SUMS) | kept)


def _reporter(report: Callable[[int], Any]) -> type[tqdm]:
    """A silent progress bar for huggingface_hub that reports its bytes to `report`."""

    class Reporter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.counts_bytes:
                report(int(self.n))
            return shown

    return Reporter


@contextmanager
def _hub_errors(repository: Repository, source: ModelSource) -> Iterator[None]:
    """huggingface_hub's many errors as one sentence each."""
    hub = source.endpoint or constants.ENDPOINT
    at = f" at revision {repository.revision!r}" if repository.revision else ""
    try:
        yield
    except GatedRepoError:
        raise HubError(
            f"{repository.repo} asks for consent: accept it at {hub}/{repository.repo}, then log in"
        ) from None
    except RevisionNotFoundError:
        raise HubError(
            f"{repository.repo} has no revision {repository.revision!r} on {hub}; leave --revision out"
        ) from None
    except RepositoryNotFoundError:
        raise HubError(f"{repository.repo} is not on {hub}, or is private: check the name, or log in") from None
    except (OSError, HTTPError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise HubError(
                "the disk is full: free some space and download again, it goes on where it stopped"
            ) from None
        raise HubError(
            f"{repository.repo}{at} could not be fetched from {hub} ({_first_line(error)}); {RETRY}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
