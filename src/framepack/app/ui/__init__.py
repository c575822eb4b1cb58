"""The Gradio page. Gradio is imported when the page is mounted. All it knows of jobs is the service."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from framepack.files.environment import without

if TYPE_CHECKING:
    from fastapi import FastAPI

    from framepack.app.service.job_service import Service

GRADIO_READS = r"GRADIO_(?!ANALYTICS_ENABLED|TEMP_DIR).*|.*_PROXY|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE"
"""Variables that Gradio reads at import, when it makes HTTP clients. A local page never uses those."""


def mount_page(app: "FastAPI", service: "Service", presets: Path) -> "FastAPI":
    """Serve the page at `/` of an application that has the HTTP API. Call it after all other routes are added.

    `presets` is the folder of presets. Raises ImportError without Gradio: `pip install 'framepack[server]'`.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(service.folders.home / "page")
    with without(GRADIO_READS):
        from framepack.app.ui.page import mount

        page = mount(app, service, presets)
    service.models.check()
    return page
