"""How the core is started: the owner's own command, as the owner, with the GPU it leases. Pure.

The face that starts the core says which Python and which checkout it runs from; they are kept as the run's options, so
that a restart is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.core import choice, keys
from spaces_runner.errors import CoreFailed
from spaces_runner.settings import Settings
from spaces_runner.types import Gpu, LaunchPlan, RunOptions, Sdk

MODULE = "app.inference"
TOKEN_VARIABLE = "SPACES_RUNNER_CORE_TOKEN"
READY_S = 300.0  # the libraries of the models are large, and a cold disk is slow
# What the core keeps of the owner's environment: where things are, how the network and the Hub are reached, threads.
KEPT = (
    "HOME", "PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "OMP_NUM_THREADS",
    "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "XDG_CACHE_HOME",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a face asks for. `root`: the checkout that holds `app/`; `environ`: the owner's."""

    python: str
    root: str
    environ: Mapping[str, str]
    preset: str = "auto"
    models: str | None = None  # a TOML file of the owner's own models
    models_dir: str | None = None
    threads: int | None = None
    gpu: str = "auto"


def own_checkout() -> str:
    """The checkout that this very package is in. Raises CoreFailed where it was installed without the core."""
    root = Path(__file__).parents[2]
    if not (root / "app" / "inference").is_dir():
        raise CoreFailed(
            "This installation has no inference core.", hint="Run Spaces Runner from a checkout of its repository."
        )
    return str(root)


def options(command: Command, settings: Settings) -> RunOptions:
    """The run's options: what the core is started with, without a secret."""
    said = {
        "--preset": command.preset,
        "--keys": str(keys.path(settings)),
        "--choice": str(choice.path(settings)),
        "--models": command.models and str(Path(command.models).absolute()),
        "--models-dir": command.models_dir and str(Path(command.models_dir).absolute()),
        "--threads": str(command.threads) if command.threads else None,
    }
    args = [word for name, value in said.items() if value for word in (name, value)]
    kept = {name: command.environ[name] for name in KEPT if name in command.environ}
    return RunOptions(
        share=False,
        gpu=command.gpu,
        variables={**kept, "PYTHONPATH": command.root, "SPACES_RUNNER_HOME": settings.home},
        app_args=(command.python, "-P", "-m", MODULE, "serve", *args),
    )


def preset_of(run: RunOptions) -> str:
    """What was asked for."""
    words = run.app_args
    return next((words[number + 1] for number, word in enumerate(words[:-1]) if word == "--preset"), "auto")


def launch_plan(run: RunOptions, settings: Settings, gpu: Gpu | None) -> LaunchPlan:
    """The Hub token is the owner's, who runs the core. It is in the process's environment alone."""
    told = gpu is not None or run.gpu == "none" or settings.visible_gpus is not None
    visible = {"CUDA_VISIBLE_DEVICES": gpu.uuid if gpu else ""} if told else {}
    token = {"HF_TOKEN": settings.hf_token} if settings.hf_token else {}
    return LaunchPlan(
        argv=run.app_args,
        cwd=str(keys.directory(settings)),
        env={**run.variables, "PYTHONUNBUFFERED": "1", **token, **visible},
        sdk=Sdk.GRADIO,
        share=False,
        ready_timeout_s=READY_S,
    )
