"""What the core says of itself, taken at its word: made-up requests to each route of its OpenAPI, no error of ours."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema

from app.inference.server import Bounds
from tests.support.inference_server import TOKEN, ScriptedService, bearer, serving

ROUTES = (
    *("POST /v1/chat/completions", "POST /v1/completions", "POST /tokenize", "GET /v1/models", "GET /v1/models/{name}"),
    *(f"POST /v1/models/{{name}}/{verb}" for verb in ("load", "sleep", "unload")),
    *("POST /tgi/{model}", "POST /tgi/{model}/generate", "POST /tgi/{model}/generate_stream"),
    *("GET /tgi/{model}/info", "GET /tgi/{model}/health", "GET /health", "GET /metrics"),
)


UNMISTAKABLE = ("GET /health", "GET /tgi/{model}/health")  # whatever is sent there is right
CASES = [
    *((route, GenerationMode.POSITIVE) for route in ROUTES),
    *((route, GenerationMode.NEGATIVE) for route in ROUTES if route not in UNMISTAKABLE),
]


@pytest.fixture(scope="module")
def schema() -> Iterator[BaseSchema]:
    with serving(ScriptedService(), bounds=Bounds(body_bytes=100_000)) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")
        alive = httpx.get(f"{address}/v1/models", headers=bearer(TOKEN), timeout=5)
        assert alive.status_code == 200  # after all of it


def test_no_route_is_left_out(schema: BaseSchema) -> None:
    found = [one.ok().label for one in schema.get_all_operations() if isinstance(one, Ok)]
    assert sorted(found) == sorted(ROUTES)


@pytest.mark.parametrize(("route", "mode"), CASES, ids=[f"{route} {mode.value}" for route, mode in CASES])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_an_error_of_ours(
    schema: BaseSchema, route: str, mode: GenerationMode, data: st.DataObject
) -> None:
    method, _, path = route.partition(" ")
    case = data.draw(schema[path][method].as_strategy(mode))
    case.call_and_validate(headers=bearer(TOKEN), checks=[not_a_server_error], timeout=20)
