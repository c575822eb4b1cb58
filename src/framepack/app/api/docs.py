"""The page at /api/docs: what OpenAPI says of the HTTP API, as plain HTML. Loads nothing and runs nothing."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; text-transform: capitalize; }
h3 { margin: 2rem 0 0; font: 600 1rem/1.5 ui-monospace, monospace; }
p { margin: .3rem 0; white-space: pre-line; }
table { border-collapse: collapse; margin: .5rem 0; width: 100%; }
th, td { border-top: 1px solid #8886; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
td:first-child { width: 12rem; font-family: ui-monospace, monospace; }
td:nth-child(2) { width: 18rem; }
"""
POLICY = "default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{}'".format(
    base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
)
Schema = Mapping[str, Any]


def page(openapi: Schema) -> str:
    """The HTML of an OpenAPI schema: its routes by tag, then the objects they take and give."""
    tags: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation.get("tags", ["other"])[0], []).append(
                route(f"{method.upper()} {path}", operation)
            )
    routes = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in tags.items())
    objects = "".join(described(*one) for one in sorted(openapi["components"]["schemas"].items()))
    title = f"{escape(openapi['info']['title'])} {escape(openapi['info']['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: HTTP API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f'<h1>{title}: HTTP API</h1><p>The same for programs: <a href="/api/openapi.json">/api/openapi.json</a>. '
        f'Every error is an <a href="#ErrorAnswer">ErrorAnswer</a>.</p>{routes}<h2>Objects</h2>{objects}</body></html>'
    )


def route(title: str, operation: Schema) -> str:
    """A route: what it does, what it takes and what it gives."""
    text = [f"<h3>{escape(title)}</h3><p>{escape(operation.get('description', ''))}</p>"]
    parameters = operation.get("parameters", [])
    text.append(table((one["name"], one["schema"], one.get("description", "")) for one in parameters))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        text.append(f"<p>Takes {escape(kind)}: {kind_of(content['schema'])}</p>")
        text.append(fields(content["schema"]))
    for status, answer in operation["responses"].items():
        for content in answer.get("content", {}).values() if status.startswith("2") else ():
            text.append(f"<p>Answers {escape(status)}: {kind_of(content.get('schema', {}))}</p>")
    return "".join(text)


def described(name: str, schema: Schema) -> str:
    """An object and its fields."""
    text = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{text}</p>{fields(schema)}'


def fields(schema: Schema) -> str:
    """A table of an object's fields."""
    return table((name, one, one.get("description", "")) for name, one in schema.get("properties", {}).items())


def table(rows: Iterable[tuple[str, Schema, str]]) -> str:
    """Names, what their values may be, and what they mean."""
    lines = [
        f"<tr><td>{escape(name)}</td><td>{kind_of(schema)}{default(schema)}</td><td>{escape(text)}</td></tr>"
        for name, schema, text in rows
    ]
    return f"<table>{''.join(lines)}</table>" if lines else ""


def default(schema: Schema) -> str:
    """What holds where nothing is said."""
    return f"; {escape(str(schema['default']))} by default" if schema.get("default") not in (None, [], {}, "") else ""


def kind_of(schema: Schema) -> str:
    """What a value may be, as HTML."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if several := schema.get("anyOf"):
        return " or ".join(map(kind_of, several))
    if choices := schema.get("enum"):
        return escape(" | ".join(map(str, choices)))
    if "items" in schema:
        return f"list of {kind_of(schema['items'])}"
    kind = escape(schema.get("format", schema.get("type", "any")))
    if "minimum" in schema or "maximum" in schema:
        return f"{kind} {schema.get('minimum', '')}..{schema.get('maximum', '')}"
    return f"{kind}, at most {schema['maxLength']} characters" if "maxLength" in schema else kind
