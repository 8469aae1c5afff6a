"""A command whose text options and flags stay what was typed.

Typer has pydantic read every option, and importing pydantic takes a third of the time in which this command line has
started a Space. Text and flags need no reading.
"""

from __future__ import annotations

from typing import Any

from typer._click import Context  # Typer has no public name for these two
from typer._coercion import RuntimeParam
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption


class AsTyped(RuntimeParam):
    """Takes a word, or words, as they are."""

    def _coerce_value(self, value: Any, param: object, ctx: object) -> Any:
        return list(value) if self.annotation == list[str] else value


class Verb(TyperCommand):
    """Give it to `app.command` as `cls`. Options of other types are read as Typer does."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        take_as_typed(self, ctx)
        return super().parse_args(ctx, args)


class Verbs(TyperGroup):
    """Give it to `typer.Typer` as `cls`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        take_as_typed(self, ctx)
        return super().parse_args(ctx, args)


def take_as_typed(command: TyperCommand | TyperGroup, ctx: Context) -> None:
    for param in command.get_params(ctx):
        if isinstance(param, TyperArgument | TyperOption) and param.type_descriptor.annotation in (
            str,
            bool,
            list[str],
        ):
            about = param.type_descriptor
            param._runtime_param = AsTyped(parameter_info=about.parameter_info, annotation=about.annotation)
