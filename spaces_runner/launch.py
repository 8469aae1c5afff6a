"""What a Space's app is started with: command, working directory, environment, what it may reach. Starts nothing.

Ports, the bootstrap's socket, the run mark and the secrets are added by the shim, at the moment it starts the app.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from spaces_runner import sdks
from spaces_runner.sandbox.fence import Needs, fence
from spaces_runner.settings import Settings, SpaceDirs
from spaces_runner.types import (
    Checkout,
    Container,
    Environment,
    Finding,
    Gpu,
    LaunchPlan,
    RunOptions,
    Sandbox,
    SpaceRef,
    SpaceSpec,
    User,
)
from spaces_runner.variables import PATHS, RESERVED

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plan(  # noqa: PLR0913  # the last stage takes what all the others made
    *,
    spec: SpaceSpec,
    checkout: Checkout,
    environment: Environment,
    python: str,
    dirs: SpaceDirs,
    options: RunOptions,
    user: User | None,
    sandbox: Sandbox | None,
    settings: Settings,
    gpu: Gpu | None,
    findings: tuple[Finding, ...],
    diff: str,
) -> LaunchPlan:
    """The plan of a Space that stands ready in `dirs`, to be run by `python`, the overlay's."""
    kind = sdks.of(spec.sdk)
    variables = {name: value for name, value in options.variables.items() if name not in RESERVED}
    env = {
        **_machine(python, dirs, settings, user),
        **_hub(checkout.ref, spec, gpu),
        **kind.env,
        **_gpu(options, gpu, settings),
        **_folders(spec, dirs),
        **variables,
    }
    needs = Needs(python=python, prefix=environment.prefix, named=(*options.app_args, *options.variables.values()))
    return LaunchPlan(
        argv=kind.argv(sdks.Start(python=python, spec=spec, args=options.app_args, variables=variables)),
        cwd=str(dirs.app),
        env=env,
        sdk=spec.sdk,
        sdk_version=spec.sdk_version,
        python_version=environment.resolution.python_version,
        user=user,
        fence=fence(dirs, needs, settings, sandbox) if sandbox else None,
        share=options.share,
        secrets_file=kind.secrets_file,
        ready=kind.ready,
        ready_timeout_s=spec.startup_timeout_s,
        base_path=spec.base_path,
        revision=checkout.commit,
        findings=findings,
        diff=diff,
    )


def contained(  # noqa: PLR0913  # the last stage takes what all the others made
    *,
    spec: SpaceSpec,
    checkout: Checkout,
    container: Container,
    options: RunOptions,
    gpu: Gpu | None,
    findings: tuple[Finding, ...],
) -> LaunchPlan:
    """The plan of a Space with an image of its own: what is where inside, the image says."""
    kind = sdks.of(spec.sdk)
    env = {
        **_hub(checkout.ref, spec, gpu),
        **kind.env,
        **{name: value for name, value in options.variables.items() if name not in RESERVED},
    }
    return LaunchPlan(
        argv=kind.argv(sdks.Start(python="", spec=spec, args=options.app_args)),
        cwd=checkout.path,
        env=env,
        sdk=spec.sdk,
        container=container,
        share=options.share,
        ready=kind.ready,
        ready_timeout_s=spec.startup_timeout_s,
        base_path=spec.base_path,
        revision=checkout.commit,
        findings=findings,
    )


def _machine(python: str, dirs: SpaceDirs, settings: Settings, user: User | None) -> dict[str, str]:
    """Where things are. Nothing of the owner's environment is handed on."""
    name = f"space-{user.uid}" if user else "space"
    certificates = {"SSL_CERT_FILE": settings.ca_file, "REQUESTS_CA_BUNDLE": settings.ca_file}
    return {
        "PATH": f"{Path(python).parent}:{SYSTEM_PATH}",
        "VIRTUAL_ENV": str(Path(python).parents[1]),
        "HOME": str(dirs.home),
        "USER": name,
        "LOGNAME": name,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TMPDIR": str(dirs.tmp),
        "GRADIO_TEMP_DIR": str(dirs.tmp / "gradio"),
        "HF_HOME": str(dirs.home / ".cache" / "huggingface"),
        "XDG_CACHE_HOME": str(dirs.home / ".cache"),
        "MPLCONFIGDIR": str(dirs.home / ".config" / "matplotlib"),
        "PYTHONPATH": str(dirs.app),
        "PYTHONUNBUFFERED": "1",
        "BROWSER": "true",  # `inbrowser=True` must not start a text browser in the log
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
        **{key: value for key, value in certificates.items() if value},
        **_index(settings),
    }


def _index(settings: Settings) -> dict[str, str]:
    """Where the app's own `pip install` finds packages. An address with a password in it stays with the owner."""
    urls = [url for url in settings.extra_index_urls if not urlsplit(url).password]
    main = settings.index_url if settings.index_url and not urlsplit(settings.index_url).password else None
    folders = [link for link in settings.find_links if not urlsplit(link).password]
    named = {
        "PIP_INDEX_URL": main,
        "PIP_EXTRA_INDEX_URL": " ".join(urls),
        "PIP_FIND_LINKS": " ".join(folders),
        "UV_DEFAULT_INDEX": main,
        "UV_INDEX": " ".join(urls),
        "UV_FIND_LINKS": ",".join(folders),
    }
    return {name: value for name, value in named.items() if value}


def _hub(ref: SpaceRef, spec: SpaceSpec, gpu: Gpu | None) -> dict[str, str]:
    """What the Hub tells a Space, and what its builder sets. Never SYSTEM=spaces: with it Gradio refuses to share.

    SPACE_CREATOR_USER_ID is missing: only the Hub knows it, and no answer of its API has it. Who needs it gives it.
    """
    owner, name = ref.owner or "local", ref.name
    return {
        "SPACE_ID": f"{owner}/{name}",
        "SPACE_AUTHOR_NAME": owner,
        "SPACE_REPO_NAME": name,
        "SPACE_TITLE": spec.title or name,
        "ACCELERATOR": _slug(gpu.name) if gpu else "none",
        "CPU_CORES": str(len(os.sched_getaffinity(0))),
        "MEMORY": f"{_memory_gib()}Gi",
    }


def _folders(spec: SpaceSpec, dirs: SpaceDirs) -> dict[str, str]:
    """What stands for folders of the Hub's machine, for code that names any: one leads to another."""
    if not spec.hub_paths:
        return {}
    return {PATHS: json.dumps({"/home/user/app": str(dirs.app), "/home/user": str(dirs.home), "/data": str(dirs.data)})}


def _gpu(options: RunOptions, gpu: Gpu | None, settings: Settings) -> dict[str, str]:
    """One card, or none where the owner leaves none. On a machine without any, nothing needs hiding."""
    if gpu is not None:
        return {"CUDA_VISIBLE_DEVICES": gpu.uuid}
    return {"CUDA_VISIBLE_DEVICES": ""} if options.gpu == "none" or settings.visible_gpus is not None else {}


def _memory_gib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**3


def _slug(text: str) -> str:
    return "-".join(text.lower().split())
