"""Which models a service has on its disk, known without waiting: a child process checks, since that loads torch.

Checks, never downloads.
"""

import json
import logging
import math
import sys
import threading
import time
from pathlib import Path

from framepack.files.child import PIPE, Child, start
from framepack.spec.variants import PUBLISHED, VARIANTS

RECHECK_AFTER = 20.0
"""Seconds after which a missing model is checked again, when asked for: it may have been downloaded."""
TIMEOUT = 300.0
"""Seconds a check may take; it loads torch, on a machine that may be busy."""


def not_here(model: str, models_dir: Path | None, revision: str | None = None) -> str | None:
    """Why `model` cannot be used, with the way out, where there is nothing of one of its repositories; else None.

    Checks names only and loads no torch, so it answers at once. An incomplete model is found when it is used.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    variant = VARIANTS.get(model)
    if variant is None or variant.bundled or (models_dir is not None and not models_dir.is_dir()):
        return None

    def there(repo: str) -> bool:
        if models_dir is not None and (models_dir / repo).is_dir():
            return True
        cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
        version = (revision if repo == variant.main else None) or "main"
        return (cached / "refs" / version).is_file() or (cached / "snapshots" / version).is_dir()

    lacking = [repo for repo in variant.repositories.values() if not there(repo)]
    if not lacking:
        return None
    size = sum(PUBLISHED.get(repo, 0.0) for repo in lacking)
    return (
        f"model {model} is not here: run `framepack models download {model}` (about {size / 1e9:.1f} GB), "
        "or name a folder that holds it with --models-dir"
    )


class ModelsHere:
    """Of the models in `models_dir` and in the Hugging Face cache. `close` ends a check."""

    def __init__(self, models_dir: Path | None) -> None:
        self.models_dir = models_dir
        self._lacking: dict[str, int] | None = None
        self._checked = -math.inf
        self._checking = threading.Lock()
        self._child: Child | None = None
        self._closing = False

    def lack(self, model: str) -> int | None:
        """About how many bytes are to be fetched before `model` can be used; None where it is here, or not known yet.

        Never waits: what is not known yet is checked in the background, for the next call.
        """
        stale = time.monotonic() - self._checked > RECHECK_AFTER
        if stale and (self._lacking is None or model in self._lacking):
            self.check()
        return (self._lacking or {}).get(model)

    def check(self) -> None:
        """Start a check, unless one is running."""
        if not self._closing and self._checking.acquire(blocking=False):
            threading.Thread(target=self._check, name="models", daemon=True).start()

    def close(self) -> None:
        """End the check, and start no other."""
        self._closing = True
        if child := self._child:
            child.kill()

    def _check(self) -> None:
        command = [sys.executable, "-P", "-m", "framepack.app.service.models_child"]
        if self.models_dir is not None:
            command.append(str(self.models_dir))
        try:
            self._lacking = json.loads(self._run(command))
        except (ValueError, OSError):  # what cannot be read is not reported as missing
            if not self._closing:
                logging.getLogger("framepack").warning("cannot check which models are here", exc_info=True)
        finally:
            self._checked = time.monotonic()
            self._checking.release()

    def _run(self, command: list[str]) -> bytes:
        with start(command, stdout=PIPE) as child:
            self._child = child
            timer = threading.Timer(0 if self._closing else TIMEOUT, child.kill)
            timer.start()
            try:
                return child.communicate()[0]
            finally:
                timer.cancel()
                self._child = None
