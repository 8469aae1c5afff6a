"""Builds the site of a static Space: its app_build_command, as the Space's user in its sandbox, with node from here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer

from spaces_runner.errors import BuildCommandFailed, NoAppFile, NodeMissing
from spaces_runner.report import Reporter
from spaces_runner.sandbox.command import Limits, wrap
from spaces_runner.sanitize import clean_line
from spaces_runner.settings import Settings
from spaces_runner.types import LaunchPlan, SpaceSpec, Step

TIMEOUT_S = 3600.0
LAST_LINES = 30
_INSTALL_NODE = "Install Node.js with npm (https://nodejs.org, or apt-get install nodejs npm) and launch again."


def build(spec: SpaceSpec, plan: LaunchPlan, settings: Settings, report: Reporter) -> None:
    """Run the command in the checkout of `plan`, after `npm ci` or `npm install` where there is a package.json.

    Raises NodeMissing, BuildCommandFailed, or NoAppFile where the app file is not there afterwards.
    """
    root = Path(plan.cwd)
    with report.step(Step.BUILD) as note:
        for command in (*_install(root), spec.build_command):
            report.log(f"$ {command}")
            _run(command, _with_node(plan, settings), report)
        note.append(spec.build_command)
    if not (root / spec.app_file).is_file():
        raise NoAppFile(
            f"The app file {spec.app_file} is not there after {spec.build_command}.",
            hint="Set app_file in the front matter of README.md to the page that the build makes.",
            lines=tuple(f"there is: {path.relative_to(root)}" for path in _pages(root)),
        )


def _install(root: Path) -> tuple[str, ...]:
    if not (root / "package.json").is_file():
        return ()
    locked = (root / "package-lock.json").is_file() or (root / "npm-shrinkwrap.json").is_file()
    return ("npm ci --no-audit --no-fund" if locked else "npm install --no-audit --no-fund",)


def _with_node(plan: LaunchPlan, settings: Settings) -> LaunchPlan:
    """`plan` with node first on its PATH, and readable. Raises NodeMissing."""
    found = {name: shutil.which(name, path=settings.path) for name in ("node", "npm")}
    node, npm = found["node"], found["npm"]
    if node is None or npm is None:
        raise NodeMissing(
            f"The Space is built with {' and '.join(name for name in found if not found[name])}, "
            "which this machine does not have.",
            hint=_INSTALL_NODE,
        )
    kept = tuple(dict.fromkeys(str(Path(program).resolve().parents[1]) for program in (node, npm)))
    own = dict.fromkeys(str(Path(program).parent) for program in (node, npm))
    certificates = {"NODE_EXTRA_CA_CERTS": settings.ca_file} if settings.ca_file else {}
    return replace(
        plan,
        env={"CI": "true", **plan.env, **certificates, "PATH": os.pathsep.join((*own, plan.env["PATH"]))},
        fence=plan.fence and replace(plan.fence, read=(*plan.fence.read, *kept)),
    )


def _run(command: str, plan: LaunchPlan, report: Reporter) -> None:
    """Raises BuildCommandFailed. What it leaves running in its group ends with it."""
    process = subprocess.Popen(
        wrap(("/bin/sh", "-c", command), plan.user, plan.fence, Limits()),
        cwd=plan.cwd,
        env=plan.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,
    )
    timer = Timer(TIMEOUT_S, _end, (process,))
    timer.start()
    try:
        lines = _heard(process, report)
    finally:
        timer.cancel()
        _end(process)
    code = process.wait()
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise BuildCommandFailed(
            f"{command} {how}.", hint="The lines say why; the build log has them all.", lines=tuple(lines)
        )


def _heard(process: subprocess.Popen[bytes], report: Reporter) -> deque[str]:
    """Its last lines, once all have gone to the log."""
    lines: deque[str] = deque(maxlen=LAST_LINES)
    for raw in process.stdout or ():
        line = clean_line(raw.decode("utf-8", "replace").rstrip())
        report.log(line)
        if line:
            lines.append(line)
    process.wait()
    return lines


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all of them are gone
        os.killpg(process.pid, signal.SIGKILL)


def _pages(root: Path) -> list[Path]:
    found = (path for path in sorted(root.glob("*/*.html")) if "node_modules" not in path.parts)
    return [*sorted(root.glob("*.html")), *found][:20]
