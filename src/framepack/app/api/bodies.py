"""What OpenAPI says of errors, and of bodies that are read off the event loop, where FastAPI does not see them."""

from typing import Any

from pydantic import BaseModel


class ErrorAnswer(BaseModel):
    """Why something was refused or failed."""

    error: str
    """One sentence with the value, the bound and the way out."""

    model_config = {"use_attribute_docstrings": True}


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request is invalid"},
    "5XX": {"model": ErrorAnswer, "description": "The service cannot do it now"},
}
"""Answers that every route may give."""


def json_body(model: type[BaseModel] | None = None) -> dict[str, Any]:
    """A body of JSON, of any object where no model is named."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"} if model else {"type": "object"}
    return _body({"application/json": {"schema": schema}})


def form_body(*, json: type[BaseModel] | None = None, text: str = "", **files: str) -> dict[str, Any]:
    """A form: `files` by field and what each is; `text` describes its field `request`; `json` may come instead."""
    parts = {name: {"type": "string", "format": "binary", "description": text} for name, text in files.items()}
    if text:
        parts = {"request": {"type": "string", "description": text}, **parts}
    form = {"type": "object", "properties": parts, "additionalProperties": {"type": "string", "format": "binary"}}
    other = json_body(json)["requestBody"]["content"] if json else {}
    return _body({**other, "multipart/form-data": {"schema": form}})


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
