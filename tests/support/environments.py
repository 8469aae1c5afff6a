"""Environments of their own for what cannot stand beside our packages: made once, kept beside the package cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests.support.home import cache_directory


def interpreter(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of the environment that holds just `requirements`, in the order they are given; `name` tells it."""
    folder = "-".join([name, f"{sys.version_info.major}.{sys.version_info.minor}", requirements[0].replace("==", "-")])
    target = cache_directory() / folder
    uv, python = str(Path(sys.executable).with_name("uv")), target / "bin" / "python"
    made = target / "made"
    with FileLock(f"{target}.lock"):
        if not made.exists() or made.read_text().split() != list(requirements):
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, target], check=True, timeout=120)
            install = [uv, "pip", "install", "-q", "--python", str(python), *requirements]
            subprocess.run(install, check=True, timeout=300)
            made.write_text("\n".join(requirements))
    return python
