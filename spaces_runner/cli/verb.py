"""A command whose text options and flags stay what was typed.

Typer has pydantic read every option, and importing pydantic takes a third of the time in which this command line has
started a Space. Text and flags need no reading. Typer has no public name for what reads an option; the two private
ones here, `RuntimeParam` and `_runtime_param`, are why pyproject.toml bounds its version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typer._coercion import RuntimeParam
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


class AsTyped(RuntimeParam):
    """Takes a word, or words, as they are."""

    def _coerce_value(self, value: Any, param: object, ctx: object) -> Any:
        return list(value) if self.annotation == list[str] else value


class Verb(TyperCommand):
    """Give it to `app.command` as `cls`. Options of other types are read as Typer does."""

    def get_params(self, ctx: Any) -> list[Any]:
        return as_typed(super().get_params(ctx))


class Verbs(TyperGroup):
    """Give it to `typer.Typer` as `cls`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return as_typed(super().get_params(ctx))


def as_typed(params: Iterable[object]) -> list[object]:
    """The parameters of a command, --help among them, with what reads them replaced where nothing is to be read."""
    found = list(params)
    for param in found:
        if isinstance(param, TyperArgument | TyperOption):
            about = param.type_descriptor
            if about.annotation in (str, bool, list[str]):
                param._runtime_param = AsTyped(parameter_info=about.parameter_info, annotation=about.annotation)
    return found
