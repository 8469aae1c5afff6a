"""A Space's own writable layer in front of its immutable environment.

It is a virtual environment that belongs to the Space's user: `pip install` at run time lands in it and comes first;
everything else is found behind it. The runner lays it out and never runs anything of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from spaces_runner.ownership import hand_over
from spaces_runner.types import Environment, User

_PTH = "_spaces_runner_environment"
_HUB = "_spaces_runner_hub"  # after it by name, and so by order
_OWN = Path(__file__).parent / "bootstrap" / f"{_HUB}.py"
_MAX_SHEBANG = 120  # the kernel cuts the first line of a script at 127 bytes
_NOT_SCRIPTS = ("python", "activate", "Activate", "deactivate")

_PATH_LINE = "import site; site.addsitedir({site!r})\n"
_START = '''"""Puts the environment behind this overlay; Pythons from 3.15 on call it (PEP 829)."""

import site


def start():
    site.addsitedir({site!r})
'''


def lay(environment: Environment, venv_dir: Path, user: User | None) -> str:
    """The path of the Space's own Python, in `venv_dir`, which belongs to `user`.

    What the Space installed there before is kept while its environment is the same, and removed otherwise.
    """
    mark = venv_dir.with_name(f"{venv_dir.name}.fingerprint")  # beside it: inside, the Space could write it
    python = venv_dir / "bin" / "python"
    made_of = f"{environment.fingerprint} {hashlib.sha256(_OWN.read_bytes()).hexdigest()[:16]}"
    if _read(mark) == made_of and python.is_symlink():
        return str(python)
    mark.unlink(missing_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{venv_dir.name}-", dir=venv_dir.parent))  # closed to all but us
    fresh = room / "venv"
    fresh.mkdir(mode=0o755)
    _fill(fresh, venv_dir, environment)
    hand_over(fresh, user)
    if venv_dir.is_symlink() or venv_dir.exists():
        venv_dir.rename(room / "old")  # its contents are a stranger's: no link in them is followed
    fresh.rename(venv_dir)
    shutil.rmtree(room, ignore_errors=True)
    mark.write_text(made_of)
    return str(python)


def _fill(fresh: Path, final: Path, environment: Environment) -> None:
    prefix = Path(environment.prefix)
    minor = ".".join(environment.resolution.python_version.split(".")[:2])
    site = Path("lib", f"python{minor}", "site-packages")
    (fresh / site).mkdir(parents=True)
    (fresh / "lib64").symlink_to("lib")
    (fresh / "bin").mkdir()
    (fresh / "bin" / "python").symlink_to(environment.resolution.python)
    for name in ("python3", f"python{minor}"):
        (fresh / "bin" / name).symlink_to("python")
    shutil.copyfile(prefix / "pyvenv.cfg", fresh / "pyvenv.cfg")
    behind = str(prefix / site)
    (fresh / site / f"{_PTH}.pth").write_text(_PATH_LINE.format(site=behind))
    (fresh / site / f"{_PTH}.py").write_text(_START.format(site=behind))
    (fresh / site / f"{_PTH}.start").write_text(f"{_PTH}:start\n")
    shutil.copyfile(_OWN, fresh / site / _OWN.name)
    (fresh / site / f"{_HUB}.pth").write_text(f"import {_HUB}; {_HUB}.start()\n")
    (fresh / site / f"{_HUB}.start").write_text(f"{_HUB}:start\n")
    _scripts(prefix / "bin", fresh / "bin", final / "bin" / "python")
    _data(prefix, fresh)


def _scripts(source: Path, target: Path, python: Path) -> None:
    """Console scripts that start the overlay's Python; programs of another kind as links."""
    for entry in os.scandir(source):
        if entry.name.startswith(_NOT_SCRIPTS) or not entry.is_file():
            continue
        text = Path(entry.path).read_bytes()
        old = str(source / "python").encode()
        if text.startswith(b"#!") and old in text[:512]:
            script = target / entry.name
            script.write_bytes(_shebang(python) + _body(text))
            script.chmod(0o755)
        else:
            (target / entry.name).symlink_to(entry.path)


def _shebang(python: Path) -> bytes:
    if len(str(python)) < _MAX_SHEBANG and " " not in str(python):
        return f"#!{python}\n".encode()
    return f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n".encode()


def _body(text: bytes) -> bytes:
    """A script without the lines that start its interpreter."""
    first, _, rest = text.partition(b"\n")
    if first.endswith(b"/sh"):  # the form for long paths, three lines
        _, _, rest = rest.partition(b"\n")
        _, _, rest = rest.partition(b"\n")
    return rest


def _data(prefix: Path, fresh: Path) -> None:
    """Files that packages look for below `sys.prefix`, as links: share/…, etc/…"""
    for entry in os.scandir(prefix):
        if entry.is_dir(follow_symlinks=False) and entry.name not in ("bin", "lib", "include"):
            (fresh / entry.name).mkdir()
            for child in os.scandir(entry.path):
                (fresh / entry.name / child.name).symlink_to(child.path)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
