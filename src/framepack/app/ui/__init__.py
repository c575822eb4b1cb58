"""The page. Gradio is imported when one is mounted, and not before; all it knows of jobs is the service."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from framepack.files.environment import without

if TYPE_CHECKING:
    from fastapi import FastAPI

    from framepack.app.service.job_service import Service

GRADIO_READS = r"GRADIO_(?!ANALYTICS_ENABLED|TEMP_DIR).*|.*_PROXY|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE"
"""Variables that Gradio reads when it is imported: it makes HTTP clients then, which a local page never uses."""


def mount_page(app: "FastAPI", service: "Service", presets: Path) -> "FastAPI":
    """Serve the page at `/` of an application that has the HTTP API. Call it after all other routes are there.

    `presets` is the folder of named settings. ImportError where Gradio is missing: `pip install 'framepack[server]'`.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(service.folders.home / "page")
    with without(GRADIO_READS):
        from framepack.app.ui.page import mount

        page = mount(app, service, presets)
    service.models.check()
    return page
