"""What the page says of an error. Pure."""

import traceback

from framepack.app.ui import views
from framepack.app.ui.form import FieldError


def error_notice(error: Exception) -> dict[str, str]:
    """The notice for an error: a sentence for a user's mistake, and the traceback as well for anything else."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, ValueError):
        notice = {"tone": "error", "text": views.as_sentence(text)}
        return notice | {"field": error.field} if isinstance(error, FieldError) else notice
    details = "".join(traceback.format_exception(error))
    return {"tone": "error", "text": f"That did not work: {views.as_sentence(text)}", "detail": details}
