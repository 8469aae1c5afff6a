"""What the cells of the notebooks call. Everything is done by the program in `__main__`; here it is asked and shown.

Runs in the kernel, whose Python may be 3.8, with the standard library and IPython.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spaces_runner.notebook import shown
from spaces_runner.notebook.chat import Core
from spaces_runner.notebook.helper import Failed, heard
from spaces_runner.notebook.python import SetupFailed, bring

ROOT = Path(__file__).resolve().parents[2]


def launch(  # noqa: PLR0913  # one keyword per parameter of the notebook
    space: str,
    environ: Mapping[str, str],
    *,
    share: bool = True,
    gpu: str = "auto",
    model: str | None = None,
    variables: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    hours: float | None = None,
    storage_gb: float | None = None,
) -> None:
    """Start a Space, or adopt it where it runs, and stay with it until it ends. Interrupting the cell stops it.

    `secrets` are names: their values are the variables of `environ`, or the secrets that Kaggle keeps. `hours` is when
    the platform ends the machine, counted from its start, and `storage_gb` how much it lets you keep; None: as is usual
    there. Raises Failed with one message.
    """
    order = {
        "verb": "space",
        "space": space,
        "share": share,
        "gpu": gpu,
        "model": model,
        "variables": dict(variables or {}),
        "secrets": {name: secret(name, environ) for name in secrets},
        "hours": hours,
        "storage_gb": storage_gb,
    }
    where, page, left = shown.Place(), shown.Place(), shown.Place()
    framed = None
    for message in _messages(environ, order, ("core",) if model else ()):
        if message["kind"] == "links":
            where.show(*shown.links(message))
            frame = shown.inline(message)
            if frame and frame != framed:  # a page that is loaded again would lose what was typed
                page.show(*frame)
                framed = frame
        elif message["kind"] == "left":
            left.show(message["text"], f"<i>{message['text']}</i>")
        else:
            say(message["text"])


def core(environ: Mapping[str, str], *, preset: str = "auto", storage_gb: float | None = None) -> Core:
    """The inference core, started where it does not run. Its token stays in the object. Raises Failed."""
    order = {"verb": "core", "preset": preset, "storage_gb": storage_gb}
    found = None
    for message in _messages(environ, order, ("core",)):
        if message["kind"] == "core":
            found = Core(url=message["url"], token=message["token"], preset=message["preset"])
        else:
            say(message["text"])
    if found is None:
        raise Failed("The core was not started: the cell was interrupted.")
    say(repr(found))
    return found


def stop_core(environ: Mapping[str, str]) -> None:
    """End the core. Raises Failed."""
    for message in _messages(environ, {"verb": "stop-core"}, ("core",)):
        say(message["text"])


def secret(name: str, environ: Mapping[str, str]) -> str:
    """Its value in the kernel's environment, where Gradient puts it, or in Kaggle's keeping. Raises Failed."""
    if value := environ.get(name, ""):
        return value
    if "KAGGLE_KERNEL_RUN_TYPE" in environ:
        return _of_kaggle(name)
    raise Failed(
        f"There is no secret {name}.\nhint: Add it to the platform's secrets, or to the environment of this kernel."
    )


def _of_kaggle(name: str) -> str:
    """Kaggle's image has the package: https://github.com/Kaggle/docker-python/blob/main/patches/kaggle_secrets.py."""
    from kaggle_secrets import BackendError, CredentialError, UserSecretsClient

    try:
        return str(UserSecretsClient().get_secret(name))
    except (BackendError, CredentialError, ConnectionError) as error:
        raise Failed(
            f"Kaggle does not hand out the secret {name}: {error}\nhint: Attach it to this notebook, under Add-ons."
        ) from None


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _messages(
    environ: Mapping[str, str], order: Mapping[str, Any], extras: tuple[str, ...]
) -> Iterable[dict[str, Any]]:
    try:
        python = bring(ROOT, extras, environ, say)
    except SetupFailed as error:
        raise Failed(str(error)) from None
    return heard(python, ROOT, environ, order)
