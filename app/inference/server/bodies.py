"""A request's body → a checked value, or an error in plain sentences. Knows no protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request

from app.inference.errors import BadRequest, BodyTooLarge, MalformedBody
from app.inference.server.streams import ClientLeft

# Which branch of a union was tried stands in an error's location, and is no part of the field's name.
_BRANCH = re.compile(r"str|int|float|bool|list\[.*|[A-Z]\w*")


class Body(BaseModel):
    """What a body is checked by: types as they are written, finite numbers. Fields it does not know are kept apart."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(self.model_extra or ())


B = TypeVar("B", bound=Body)


async def read(request: Request, kind: type[B], limit: int) -> B:
    """The body as a `kind`, of at most `limit` bytes. Raises BodyTooLarge, MalformedBody, BadRequest."""
    return checked(await _bytes(request, limit), kind)


def checked(raw: bytes, kind: type[B]) -> B:
    """What the bytes of a body say as a `kind`. Raises MalformedBody, BadRequest."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise _plain(error) from error


async def _bytes(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyTooLarge(limit)
    parts, size = [], 0
    try:
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise BodyTooLarge(limit)
    except ClientDisconnect as error:
        raise ClientLeft from error
    return b"".join(parts)


def _plain(error: ValidationError) -> BadRequest:
    """The first thing that is wrong; of the branches of a union, those that came furthest."""
    details = error.errors(include_url=False)
    first = max(details, key=lambda detail: len(detail["loc"]))
    if first["type"] == "json_invalid":
        return MalformedBody(f"The body is not valid JSON: {first['ctx']['error']}.")
    field = _path(first["loc"])
    if not field:
        return MalformedBody("The body must be a JSON object.")
    wrongs = dict.fromkeys(_wrong(detail) for detail in details if _path(detail["loc"]) == field)
    return BadRequest(f"{field} {' or '.join(wrongs).replace(' or must be ', ' or ')}.", param=field)


def _path(location: Sequence[int | str]) -> str:
    """`messages[0].content`, as a person would write it."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _BRANCH.fullmatch(part):
            path += f".{part}" if path else part
    return path


_MUST: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be a text",
    "string_unicode": "must be a text of whole characters",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries; it has {actual_length}",
    "too_long": "must have at most {max_length} entries; it has {actual_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def _wrong(detail: ErrorDetails) -> str:
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] in _MUST:
        return _MUST[detail["type"]].format_map(context)
    return detail["msg"].rstrip(".").removeprefix("Input ")
