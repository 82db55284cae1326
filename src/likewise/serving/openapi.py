"""The OpenAPI 3.1 description of the server."""

from __future__ import annotations

from typing import Any

from likewise._version import __version__
from likewise.serving.limits import Limits


def description(limits: Limits, *, token: bool) -> dict[str, Any]:
    """The document at /openapi.json."""
    k = {"name": "k", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": limits.most, "default": 10}}
    where = {"name": "where", "in": "query", "schema": {"type": "string", "maxLength": 4000}}
    name = {"type": "string", "minLength": 1}
    words = name | {"maxLength": limits.characters}
    row = {"name": "id", "in": "query", "required": True, "schema": name}
    either = [
        {"name": "id", "in": "query", "description": "A row; this or text", "schema": name},
        {"name": "text", "in": "query", "description": "Words; this or id", "schema": words},
    ]
    found = {"200": _json("What is most like it, nearest first", {"$ref": "#/components/schemas/Found"})}
    wrong = {code: _json(why, {"$ref": "#/components/schemas/Error"}) for code, why in _ERRORS.items()}
    body = {"image/*": {"schema": {"type": "string", "format": "binary"}}, "text/plain": {"schema": words}}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "likewise serve", "version": __version__},
        "paths": {
            "/search": {
                "get": {
                    "summary": "By a row, or by words",
                    "parameters": [*either, k, where],
                    "responses": {**found, **wrong},
                },
                "post": {
                    "summary": "By an image, or by words: the body of the request",
                    "parameters": [k, where],
                    "requestBody": {"required": True, "content": body},
                    "responses": {**found, **wrong},
                },
            },
            "/image": {
                "get": {
                    "summary": "A small image of a row",
                    "parameters": [row],
                    "responses": {"200": {"description": "JPEG", "content": {"image/jpeg": {}}}, **wrong},
                }
            },
            "/health": {
                "get": {
                    "summary": "Rows and space",
                    "responses": {"200": _json("Ready", {"$ref": "#/components/schemas/Health"}), **wrong},
                }
            },
        },
        "components": {"schemas": _SCHEMAS},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _json(why: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": why, "content": {"application/json": {"schema": schema}}}


_ERRORS = {
    "400": "The query cannot be",
    "401": "A token is needed",
    "404": "There is no such row",
    "405": "Not this method",
    "408": "Too slow",
    "413": "Too large",
    "415": "No image",
    "503": "Too busy",
}
_SCHEMAS: dict[str, Any] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Health": {
        "type": "object",
        "required": ["rows", "fingerprint", "words"],
        "properties": {
            "rows": {"type": "integer"},
            "fingerprint": {"type": "string"},
            "words": {"type": "boolean", "description": "Whether it can be asked with words"},
        },
    },
    "Found": {
        "type": "object",
        "required": ["results", "recall", "exact", "fingerprint"],
        "properties": {
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "path", "similarity"],
                    "properties": {
                        "id": {"type": "string"},
                        "path": {"type": "string"},
                        "similarity": {"type": "number"},
                    },
                },
            },
            "recall": {"type": "number"},
            "exact": {"type": "boolean"},
            "fingerprint": {"type": "string"},
        },
    },
}
