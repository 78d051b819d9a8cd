"""The description of the JSON API, made from the table of routes; nothing is served here."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from eventq.core.version import __version__
from eventq.web.exporting import EXPORTS, FORMATS
from eventq.web.routes import PAGES, ConsolePage

AT = {
    "name": "at",
    "in": "query",
    "description": "The position of the log as of which to answer; without it, now.",
    "schema": {"type": "integer", "minimum": 0},
}
PROBLEM = {
    "type": "object",
    "properties": {"status": {"type": "integer"}, "problem": {"type": "string"}},
    "required": ["status", "problem"],
}
REFUSED = {
    "description": "It is refused, or there is no such thing; `problem` says why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def api_path(page: ConsolePage) -> str:
    """Where a page is found as JSON."""
    return f"/api{page.path}" if page.path != "/" else "/api/now"


def describe_api() -> dict[str, Any]:
    """The API in OpenAPI 3.1."""
    schemas, parts = msgspec.json.schema_components(
        [page.answer for page in PAGES], ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "eventq",
            "version": __version__,
            "description": "What the pages of the console show, as JSON; it changes nothing.",
        },
        "paths": {
            api_path(page): {"get": _operation(page, schema)}
            for page, schema in zip(PAGES, schemas, strict=True)
        }
        | {
            f"/export/{what}.{form}": {"get": _file(what, form)}
            for what in EXPORTS
            for form in FORMATS
        },
        "components": {"schemas": {**parts, "Problem": PROBLEM}},
    }


def _operation(page: ConsolePage, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": page.name,
        "summary": (page.model.__doc__ or page.title).partition("\n")[0],
        "parameters": [*_parameters(page.question, page.path), AT],
        "responses": {
            "200": {
                "description": page.title,
                "content": {"application/json": {"schema": schema}},
            },
            "202": {"description": "The log is being folded up to there; ask again."},
            "default": REFUSED,
        },
    }


def _file(what: str, form: str) -> dict[str, Any]:
    kind = FORMATS[form].partition(";")[0]
    text = {"schema": {"type": "string"}}
    return {
        "operationId": f"export-{what}-{form}",
        "summary": f"All {what} that fit, as a file.",
        "parameters": [*_parameters(EXPORTS[what].question, ""), AT],
        "responses": {
            "200": {"description": "The file.", "content": {kind: text}},
            "default": REFUSED,
        },
    }


def _parameters(question: type[Struct], path: str) -> list[dict[str, Any]]:
    asked = msgspec.json.schema(question)
    [found] = asked["$defs"].values()
    parameters = []
    for name, kind in found["properties"].items():
        in_path = "{" + name + "}" in path
        parameters.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path,
                "schema": kind,
            }
        )
    return parameters
