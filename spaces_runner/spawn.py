"""Starts shims: detached from the face, with a clean environment, the job on standard input. Knows no store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from spaces_runner.codec import encode
from spaces_runner.job import Job

REGISTER_S = 20.0  # for a shim to say that it is there
SHIM = ("-P", "-m", "spaces_runner.shim")
# What a shim keeps of the face's environment: how programs are found, and how the network is reached.
KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


def start_shim(job: Job, log: Path) -> None:
    """Start the shim of `job`, which prints to `log`. Returns once it is registered.

    It goes to the background by itself. Raises OSError and subprocess.SubprocessError.
    """
    _make_logs(log.parent)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        done = subprocess.run(
            [sys.executable, *SHIM],
            input=json.dumps(encode(job)).encode(),
            stdout=subprocess.PIPE,
            stderr=descriptor,
            cwd="/",
            env=_environment(),
            start_new_session=True,
            timeout=REGISTER_S,
            check=True,
        )
    finally:
        os.close(descriptor)
    if done.stdout != b"ready\n":
        raise subprocess.SubprocessError("it ended at once")


def _environment() -> dict[str, str]:
    package = Path(__file__).parents[1]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if package.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        kept["PYTHONPATH"] = str(package)
    return kept


def _make_logs(logs: Path) -> None:
    space = logs.parent
    space.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    space.mkdir(mode=0o700, exist_ok=True)  # the shim opens it to the Space's user
    logs.mkdir(mode=0o700, exist_ok=True)
