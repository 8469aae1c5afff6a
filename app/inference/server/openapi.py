"""What /openapi.json says of bodies, which are read by hand: within limits, and with errors in plain sentences."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.inference.server.bodies import Body

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"


def takes(kind: type[Body]) -> Json:
    """For a route that reads a `kind`."""
    schema = {"$ref": _REFERENCE.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, kinds: tuple[type[Body], ...]) -> None:
    """Adds the schemas of `kinds` to what the application says of itself."""
    written = app.openapi

    def complete() -> Json:
        description = written()
        schemas = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_REFERENCE)[1]["$defs"]
        description.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return description

    app.openapi = complete  # type: ignore[method-assign]  # FastAPI's documented way to extend it
