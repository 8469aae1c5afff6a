"""Starts a failed Space again with what its error advised. Knows the runner and the core, no components."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from app import forms
from app.desk import Desk
from app.machine import residents as models
from app.playground.errors import PlaygroundError
from app.playground.playground import Playground
from app.views.remedy import Kind
from spaces_runner import control
from spaces_runner.store import opened
from spaces_runner.store.records import Space
from spaces_runner.types import RunOptions

_RESIDENT = "resident"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaunch:
    desk: Desk
    playground: Playground

    async def apply(self, kind: Kind, space_id: str, name: str, value: str) -> str:
        """`name` and `value` as the remedy has them; returns the id. Raises RunnerError, PlaygroundError."""
        match kind:
            case Kind.PYTHON:
                return await asyncio.to_thread(self._with_python, space_id, name)
            case Kind.SECRET:
                return await asyncio.to_thread(self._with_secret, space_id, forms.variable_name(name), value)
            case Kind.ROOM:
                await make_room(self.playground)
                return (await asyncio.to_thread(self.desk.restart, space_id)).id

    def _with_python(self, space_id: str, version: str) -> str:
        space = opened(self.desk.settings).space(space_id)
        return self._start(space, replace(space.options, python=version), {})

    def _with_secret(self, space_id: str, name: str, value: str) -> str:
        if not value:
            raise forms.FormError(f"{name} has no value.", hint="Write it into the field beside its name.")
        space = opened(self.desk.settings).space(space_id)
        names = tuple(dict.fromkeys((*space.options.secret_names, name)))
        return self._start(space, replace(space.options, secret_names=names), {name: value})

    def _start(self, space: Space, options: RunOptions, secrets: Mapping[str, str]) -> str:
        """The Space as it was last asked for, but for these options, and with these secrets as well."""
        request = control.Request(ref=space.ref, options=options, secrets=secrets, name=space.name)
        return control.start(request, self.desk.settings).id


async def make_room(playground: Playground) -> None:
    """Every model that nobody uses sleeps. One that is asked for meanwhile stays, as long as another sleeps.

    Raises PlaygroundError where none sleeps: then there is no more room than before.
    """
    client = await playground.core.client()
    resident = [model for model in await models.ask(client) if model.residency == _RESIDENT]
    if not resident:
        raise PlaygroundError(
            "No model is in memory that could sleep.", hint="Stop another Space, or choose a larger GPU."
        )
    slept, refusal = 0, PlaygroundError("Every model in memory is answering.", hint="Wait for it, or stop the answers.")
    for name in [model.name for model in resident if not model.busy]:
        try:
            await client.sleep(name)
            slept += 1
        except PlaygroundError as error:
            refusal = error
    if not slept:
        raise refusal
