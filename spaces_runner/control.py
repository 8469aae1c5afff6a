"""What a face changes: it starts Spaces, restarts and removes them. Knows the store and the shims, no stage.

A face may be killed at any moment: what it was about to do is in the store, and the next face sweeps up.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from spaces_runner import gpu, looking, lost, removal, secrets, stopping
from spaces_runner.errors import BadOption, LaunchError, UnknownSpace
from spaces_runner.job import Job
from spaces_runner.masking import SHORTEST
from spaces_runner.sandbox.choice import required
from spaces_runner.settings import Settings
from spaces_runner.spawn import start_shim
from spaces_runner.store import Store, opened
from spaces_runner.store.records import Admission, Space
from spaces_runner.types import RefKind, RunOptions, Sandbox, SpaceRef, SpaceStatus

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PYTHON = re.compile(r"3(\.\d{1,2}){0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A Space to run. A `name` lets the same Space run more than once."""

    ref: SpaceRef
    options: RunOptions = field(default_factory=RunOptions)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A Space at work. `fresh`: this request started it; else it was at work already and keeps its options."""

    id: str
    fresh: bool


def start(request: Request, settings: Settings) -> Started:
    """Start a Space. One that is at work already is taken as it is, whatever the options say.

    Raises BadOption, SandboxMissing or GpuUnavailable before anything is written. With a model of the core, that must
    run, or have run: raises CoreFailed where it does not come up.
    """
    _check(request)
    gpu.require(request.options.gpu, settings.visible_gpus)
    sandbox = _sandbox(request.ref, request.options, settings)
    store = looking.swept(settings)
    variables = _of_model(request.options, settings)
    admission = store.admit(request.ref, request.options, request.name)
    if admission.fresh:
        if variables:
            _give_token(admission.space, settings)
        if request.secrets:
            secrets.add(settings, admission.space.id, request.secrets)
        _launch(admission, store, settings, variables, sandbox)
    return Started(id=admission.space.id, fresh=admission.fresh)


def _check(request: Request) -> None:
    """Raises BadOption for what no launch could make sense of."""
    if request.name is not None and not _NAME.fullmatch(request.name):
        raise BadOption(
            f"{request.name[:60]!r} cannot be a Space's name.",
            hint="A name has letters, digits, - and _, begins with a letter or digit, and has 40 characters at most.",
        )
    if request.options.python is not None and not _PYTHON.fullmatch(request.options.python):
        raise BadOption(f"{request.options.python[:60]!r} is no Python version.", hint="Give one like 3.10 or 3.10.13.")
    for name, value in request.secrets.items():
        if 0 < len(value) < SHORTEST:
            raise BadOption(
                f"The secret {name[:60]} is too short to be kept out of the logs.",
                hint=f"A secret has {SHORTEST} characters or more. Give what is no secret with --env.",
            )


def restart(space_id: str, settings: Settings) -> str:
    """Stop a Space and start it as it was last asked for; returns its id. Its files are fetched and built anew.

    Raises, and leaves it as it is, SandboxMissing where nothing keeps it in, GpuUnavailable where the GPU that it was
    started with is not here any more, and CoreFailed where the core with its model does not come up.
    """
    store = opened(settings)
    space = store.space(space_id)
    sandbox = _sandbox(space.ref, space.options, settings)
    gpu.require(space.options.gpu, settings.visible_gpus)
    variables = _of_model(space.options, settings)
    stopping.stop(space_id, settings)
    admission = store.readmit(space)
    if admission.fresh:
        _launch(admission, store, settings, variables, sandbox)
    return space_id


def remove(space_id: str, settings: Settings) -> None:
    """Stop a Space and forget it, with its files, logs, data and secrets. Its token of the core opens nothing then."""
    store = looking.swept(settings)
    with suppress(UnknownSpace):
        stopping.stop(space_id, settings)
    removal.discard(store.space(space_id).id, store, settings)


def never_was(status: SpaceStatus, settings: Settings) -> bool:
    """Whether the Space that failed so is nowhere to be had: mistyped, or not for this owner."""
    return removal.never_was(status, settings)


def forget_if_never_was(status: SpaceStatus, settings: Settings) -> bool:
    """Forget such a Space. For a face that has just shown `status`; one that has more to it stays as it is."""
    return removal.forget_if_never_was(status, opened(settings), settings)


def prune(settings: Settings, dry_run: bool = False, cache: bool = False) -> dict[str, list[str]]:
    """Remove what no Space uses; with `dry_run` only say what would go. `cache`: what only makes launches faster, too.

    Raises SpaceBusy where the cache should go while a Space is being built.
    """
    from spaces_runner.pruning import prune as remove_unused  # it needs what only this verb needs

    return remove_unused(looking.swept(settings), settings, dry_run=dry_run, cache=cache)


# Starting


def _sandbox(ref: SpaceRef, options: RunOptions, settings: Settings) -> Sandbox | None:
    """None for the core, too, which is the owner's own program."""
    return None if ref.kind is RefKind.CORE else required(options, settings)


def _of_model(options: RunOptions, settings: Settings) -> dict[str, str]:
    """The variable in which a Space finds its model of the core, which is started again where it has ended."""
    if options.model is None:
        return {}
    from spaces_runner.core import link, service  # only a Space with a model needs them

    wanted = link.parse(options.model)
    return {wanted.variable: link.address(wanted, service.again(settings))}


def _give_token(space: Space, settings: Settings) -> None:
    """A token of the Space's own for the core, in place of the one it had."""
    from spaces_runner.core import keys, link

    before = secrets.read(settings, space.id).get(link.TOKEN_VARIABLE)
    secrets.add(settings, space.id, {link.TOKEN_VARIABLE: keys.grant(settings, space.id)})
    keys.revoke(settings, [before] if before else [])


def _launch(
    admission: Admission, store: Store, settings: Settings, variables: Mapping[str, str], sandbox: Sandbox | None
) -> None:
    """Start the shim of a fresh run. Returns once it is registered; a run never stays without one.

    `variables` hold for this run alone.
    """
    space = admission.space
    names = tuple(sorted(secrets.read(settings, space.id)))
    job = Job(
        space_id=space.id,
        run_id=admission.run_id,
        ref=space.ref,
        options=replace(space.options, secret_names=names, variables={**space.options.variables, **variables}),
        settings=settings,
        user=store.user(space),
        sandbox=sandbox,
    )
    logs = settings.space(space.id).logs
    try:
        start_shim(job, logs / "shim.log")
    except (OSError, subprocess.SubprocessError) as error:
        failed = LaunchError(
            f"The process that runs the Space did not start: {error}", hint=f"See {logs / 'shim.log'}."
        )
        lost.close(admission.run_id, failed.info, store)
        raise failed from error
