"""The page's actions for programs: named endpoints of its Gradio API, driven by `gradio_client`. No components.

client = Client(url, headers={"Authorization": "Bearer <token>"})
space = client.predict("owner/name", api_name="/launch")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import gradio as gr
from gradio.events import api as register
from pydantic import TypeAdapter, ValidationError

from app import forms
from app.desk import Desk
from app.machine import environments
from spaces_runner.codec import encode
from spaces_runner.errors import RunnerError
from spaces_runner.types import RunOptions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One method for each endpoint, by its name. Spaces and inspections go out as JSON objects."""

    desk: Desk

    def inspect(self, space: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
        """The plan of a Space, and how large its environment is; starts nothing. `options` as for launch."""

        def plan() -> dict[str, Any]:
            found = self.desk.inspect(space, _options(options, {}), lambda event: None)
            return {**encode(found), "environment_size": encode(environments.measure(found, self.desk.settings))}

        return _answer(plan)

    def launch(
        self,
        space: str,
        options: dict[str, Any] | None = None,
        secrets: dict[str, str] | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Start a Space and return its status at once. Options: share, gpu, python, app_args, environment, refresh,
        apt, model.

        By a `name` of its own, the same Space runs once more beside the others.
        """
        kept = _called(lambda: {forms.variable_name(name): value for name, value in (secrets or {}).items()})
        return _answer(lambda: self.desk.launch(space, _options(options, kept), kept, name or None))

    def spaces(self) -> list[dict[str, Any]]:
        """The status of every Space of this machine."""
        return [_without_files(encode(status)) for status in self.desk.spaces()]

    def stop(self, space_id: str) -> dict[str, Any]:
        """Stop a Space and all its processes."""
        return _answer(lambda: self.desk.stop(space_id))

    def restart(self, space_id: str) -> dict[str, Any]:
        """Stop a Space and start it anew."""
        return _answer(lambda: self.desk.restart(space_id))

    def remove(self, space_id: str) -> dict[str, Any]:
        """Remove a Space and its files."""
        return _answer(lambda: self.desk.remove(space_id))

    def logs(self, space_id: str, which: str = "run", lines: int = 300) -> list[str]:
        """The last lines of a Space's "build" or "run" log, as harmless text."""
        return _called(lambda: self.desk.log(space_id, which, lines))

    def keys(self) -> list[str]:
        """The names of the programs that have a key to the models."""
        return list(_called(self.desk.keys))

    def make_key(self, name: str) -> str:
        """A new key for the program of that name, which is shown here only. It opens /v1 and /tgi."""
        return _called(lambda: self.desk.make_key(name))

    def revoke_key(self, name: str) -> dict[str, Any]:
        """The program's key opens nothing any more."""
        return _answer(lambda: self.desk.revoke_key(name))

    def link(self) -> dict[str, Any]:
        """The page's own public link: url, since and answered (seconds since the epoch), problem."""
        return _answer(self.desk.public_link)


def build(desk: Desk) -> None:
    """Register the endpoints in the Blocks that is being built."""
    of = Endpoints(desk)
    every = (of.inspect, of.launch, of.spaces, of.stop, of.restart, of.remove, of.logs, of.keys, of.make_key,
             of.revoke_key, of.link)  # fmt: skip
    for function in every:
        register(function, api_name=function.__name__)


def _options(given: dict[str, Any] | None, secrets: dict[str, str]) -> RunOptions:
    known = {field.name for field in fields(forms.Filled)}
    unknown = sorted(set(given or {}) - known)
    if unknown:
        raise forms.FormError(f"Unknown options: {', '.join(unknown)}.", hint=f"Known are: {', '.join(sorted(known))}.")
    try:
        filled = TypeAdapter(forms.Filled).validate_python(given or {})
    except ValidationError as error:
        first = error.errors()[0]
        raise forms.FormError(f"Option {first['loc'][0]}: {first['msg']}.", hint="See the API page.") from error
    return forms.options(filled, tuple(secrets))


def _answer(call: Callable[[], object]) -> dict[str, Any]:
    """What `call` returns as a JSON object, {} for nothing."""
    found: dict[str, Any] = _without_files(encode(_called(call)) or {})
    return found


def _without_files(value: Any) -> Any:
    """`gradio_client` takes every object with a `path` for a file of the page and fetches it: ours say `file`."""
    if isinstance(value, dict):
        return {"file" if key == "path" else key: _without_files(inner) for key, inner in value.items()}
    return [_without_files(inner) for inner in value] if isinstance(value, list | tuple) else value


def _called(call: Callable[[], T]) -> T:
    """What `call` returns; the runner's errors as Gradio's, in one sentence and without a trace."""
    try:
        return call()
    except RunnerError as error:
        raise gr.Error(f"{error.message} {error.hint}".strip(), print_exception=False) from error
