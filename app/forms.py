"""What a person typed into the launch form -> the runner's options. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from spaces_runner.errors import RunnerError
from spaces_runner.types import RunOptions, Stage

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class FormError(RunnerError):
    """A field of the form cannot be read."""

    code = "bad_form"
    stage = Stage.CONFIG_ERROR


def variables(text: str) -> dict[str, str]:
    """`NAME=value` lines as a dictionary. Blank lines and lines that begin with # do not count. Raises FormError."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise FormError(f"{line.strip()!r} is no variable.", hint="Write one NAME=value a line.")
        found[variable_name(name)] = value.strip()
    return found


def variable_name(text: str) -> str:
    """`text` as the name of an environment variable. Raises FormError."""
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise FormError(
            f"{name!r} cannot be the name of a variable or secret.",
            hint="A name has letters, digits and _ only, and does not begin with a digit: HF_TOKEN, say.",
        )
    return name


def arguments(text: str) -> tuple[str, ...]:
    """A line of arguments, split as a shell would. Raises FormError."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise FormError(f"The app's arguments cannot be read: {error}.", hint="Close every quotation mark.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The fields of the form, as typed."""

    share: bool = True
    refresh: bool = False
    apt: bool = False  # install what packages.txt asks for, as root
    gpu: str = "auto"
    python: str = ""
    app_args: str = ""
    environment: str = ""
    model: str = ""  # of the core, for the Space to call: NAME, or NAME=VARIABLE


def options(filled: Filled, secret_names: tuple[str, ...] = ()) -> RunOptions:
    """The options that the fields ask for. Raises FormError."""
    return RunOptions(
        share=filled.share,
        gpu=filled.gpu.strip() or "auto",
        python=filled.python.strip() or None,
        variables=variables(filled.environment),
        secret_names=secret_names,
        app_args=arguments(filled.app_args),
        refresh=filled.refresh,
        apt=filled.apt,
        model=filled.model.strip() or None,
    )
