"""The description of the API in OpenAPI 3.1, made of the routes and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic.json_schema import models_json_schema

from connectors.webhooks import DOORS
from serving import webhooks
from serving.api import Call
from serving.replies import Refusal

REFUSALS = {
    "400": "The request cannot be answered; the sentence says why and what to do.",
    "401": "A token is needed.",
    "403": "The token may not do this.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The service does not answer to this name.",
    "431": "The head of the request is too large.",
    "429": "Too many requests; Retry-After says when to ask again.",
    "500": "The service failed.",
    "503": "Too many connections are open; Retry-After says when to ask again.",
}


@lru_cache
def document(calls: Sequence[Call]) -> dict[str, Any]:
    """Return the description of some routes."""
    asks = {call.asks for call in calls if call.method == "POST"}
    models: list[tuple[Any, Any]] = [(model, "validation") for model in asks]
    models += [(call.replies, "serialization") for call in calls] + [(Refusal, "serialization")]
    names, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        answers = {"200": _told("OK", names[call.replies, "serialization"])}
        answers |= {status: _told(about, names[Refusal, "serialization"]) for status, about in _refusals(call).items()}
        operation: dict[str, Any] = {
            "summary": call.about,
            "operationId": _id(call),
            "security": [{"token": []}],
            "responses": answers,
        }
        if call.method == "POST":
            operation["requestBody"] = {"required": True, **_json(names[call.asks, "validation"])}
        else:
            operation["parameters"] = _parameters(call)
        paths.setdefault(call.path, {})[call.method.lower()] = operation
    paths[webhooks.PATH] = _webhooks(_told("Taken, and safe on the disk.", {"type": "object"}), names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Touchstone",
            "version": "1",
            "description": "Which leads will close, and which touches made them.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _webhooks(taken: Any, names: Any) -> dict[str, Any]:
    """Return how systems post what happened there; their own pages say what they send."""
    refusal = names[Refusal, "serialization"]
    refused = {**REFUSALS, "401": "The signature or the secret is wrong.", "404": "There is no such webhook here."}
    system = {"name": "system", "in": "path", "required": True, "schema": {"enum": [*DOORS]}}
    told: dict[str, Any] = {
        "parameters": [system],
        "security": [],
        "responses": {"200": taken} | {status: _told(about, refusal) for status, about in refused.items()},
    }
    kinds: dict[str, Any] = {"application/json": {}, "application/x-www-form-urlencoded": {}}
    return {
        "get": {"summary": "Answer a system that asks if somebody is here.", "operationId": "get_webhooks", **told},
        "post": {
            "summary": "Take what a system tells by itself; it is signed.",
            "operationId": "post_webhooks",
            "requestBody": {"required": True, "content": kinds},
            **told,
        },
    }


def _refusals(call: Call) -> dict[str, str]:
    found = {} if "{" not in call.path and call.path != "/attribution" else {"404": "There is no such thing."}
    return REFUSALS | found


def _id(call: Call) -> str:
    words = call.path.replace("{", "by_").replace("}", "").strip("/").replace("/", "_")
    return f"{call.method.lower()}_{words}"


def _told(about: str, schema: Any) -> dict[str, Any]:
    return {"description": about, **_json(schema)}


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _parameters(call: Call) -> list[dict[str, Any]]:
    if "{lead_id}" in call.path:
        return [
            {
                "name": "lead_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
                "example": "L-00001",
            }
        ]
    fields = call.asks.model_json_schema().get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]
