"""Errors as the bodies and headers that each protocol has for them. Knows no route."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from app.inference.errors import (
    BadRequest,
    GenerationFailed,
    InferenceError,
    Interrupted,
    Overloaded,
    RemoteFailed,
    Unauthorized,
)

Json = dict[str, Any]


def unforeseen() -> GenerationFailed:
    """What a caller is told of an exception that is no InferenceError; the log has it."""
    return GenerationFailed("Something in the core failed.", hint="Try again; its log says more.")


def openai_body(error: InferenceError) -> Json:
    """As https://platform.openai.com/docs/guides/error-codes has it; `code` is ours."""
    return {
        "error": {
            "message": error.sentence,
            "type": _openai_type(error.status),
            "param": error.param,
            "code": error.code,
        }
    }


def _openai_type(status: int) -> str:
    special = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
        503: "service_unavailable_error",
    }
    return special.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def tgi_body(error: InferenceError) -> Json:
    """As router/src/server.rs of text-generation-inference has it. Clients choose their exception by `error_type`."""
    return {"error": error.sentence, "error_type": _tgi_type(error)}


def _tgi_type(error: InferenceError) -> str:
    match error:
        case BadRequest():
            return "validation"
        case Overloaded():
            return "overloaded"
        case Interrupted():
            return "incomplete_generation"
        case GenerationFailed() | RemoteFailed():
            return "generation"
        case _:
            return error.code


def tgi_status(error: InferenceError) -> int:
    """TGI answers 424 where a generation failed, and 500 where it broke off."""
    if isinstance(error, Interrupted):
        return 500
    return 424 if isinstance(error, GenerationFailed) else error.status


def headers(error: InferenceError) -> dict[str, str]:
    """What every protocol says in a header."""
    match error:
        case Overloaded():
            return {"Retry-After": str(error.retry_after)}
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}


def openai_response(error: InferenceError) -> Response:
    return JSONResponse(openai_body(error), error.status, headers(error))


def tgi_response(error: InferenceError) -> Response:
    return JSONResponse(tgi_body(error), tgi_status(error), headers(error))


def response(path: str, error: InferenceError) -> Response:
    """In the manner of the protocol that is spoken at `path`."""
    return tgi_response(error) if path.startswith("/tgi/") else openai_response(error)
