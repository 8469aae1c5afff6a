"""What can be done about a failed Space with one click, read from what its error and findings advise. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.views.text import escape
from spaces_runner.types import Severity, SpaceStatus

_PYTHON = re.compile(r"--python (3\.\d{1,2}(?:\.\d{1,2})?)\b")
_SECRET = re.compile(r"--secret ([A-Za-z_][A-Za-z0-9_]*)=")
_NO_ROOM = "gpu-out-of-memory"


class Kind(StrEnum):
    PYTHON = "python"
    SECRET = "secret"
    ROOM = "room"  # idle models sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """`value`: a Python version, or the name of a secret."""

    kind: Kind
    value: str = ""


def of(status: SpaceStatus) -> tuple[Remedy, ...]:
    """The remedies of a Space that failed, each once."""
    return tuple(dict.fromkeys(_read(status))) if status.stage.failed else ()


def _read(status: SpaceStatus) -> Iterator[Remedy]:
    grave = [finding for finding in status.findings if finding.severity is not Severity.INFO]
    for advice in ([status.error.hint] if status.error else []) + [finding.remedy for finding in grave]:
        yield from (Remedy(kind=Kind.PYTHON, value=version) for version in _PYTHON.findall(advice))
        yield from (Remedy(kind=Kind.SECRET, value=name) for name in _SECRET.findall(advice))
    if any(finding.code == _NO_ROOM for finding in grave):
        yield Remedy(kind=Kind.ROOM)


def render(status: SpaceStatus) -> str:
    """A button for each, with a field where something has to be said."""
    shown = "".join(f"<li>{_button(remedy, status)}</li>" for remedy in of(status))
    return f'<ul class="sr-retry" aria-label="What can be done">{shown}</ul>' if shown else ""


def _button(remedy: Remedy, status: SpaceStatus) -> str:
    said = f'data-action="{remedy.kind.value}" data-space="{escape(status.id)}" data-name="{escape(remedy.value)}"'
    match remedy.kind:
        case Kind.PYTHON:
            return f'<button class="sr-button" {said}>Start again with Python {escape(remedy.value)}</button>'
        case Kind.SECRET:
            return f'{secret_field(remedy.value)}<button class="sr-button" {said}>Give it and start again</button>'
        case Kind.ROOM:
            return f'<button class="sr-button" {said}>Let idle models sleep and start again</button>'


def secret_field(name: str) -> str:
    """A field for the value of a secret, which is never shown."""
    return (
        f'<label class="sr-field"><code>{escape(name)}</code><input type="password" autocomplete="off" '
        f'aria-label="Value of {escape(name)}"></label>'
    )
