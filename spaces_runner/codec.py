"""Frozen dataclasses to JSON values and back. Standard library only: the shim, which must stay small, uses it too."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """`value` as what `json.dumps` takes. Enums become their values, tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(cls: type[T], data: Any) -> T:
    """The dataclass `cls` from what `encode` made. Unknown keys are dropped; a missing field takes its default.

    Raises TypeError, ValueError or KeyError when `data` is not of that shape.
    """
    return typing.cast(T, _decode(cls, data))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(hint: Any, data: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if data is None:
            return None
        return _decode(next(arg for arg in typing.get_args(hint) if arg is not type(None)), data)
    if origin is tuple:
        return tuple(_decode(typing.get_args(hint)[0], item) for item in data)
    if origin is dict:
        return dict(data)
    if dataclasses.is_dataclass(hint):
        hints = _hints(typing.cast(type, hint))
        known = {field.name for field in dataclasses.fields(hint)}
        fields = {name: _decode(hints[name], item) for name, item in dict(data).items() if name in known}
        return typing.cast(type, hint)(**fields)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    return data
