"""The sandbox of this machine: examined once, and again after a reboot or when the runner is another."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

from spaces_runner.codec import decode, encode
from spaces_runner.errors import SandboxMissing
from spaces_runner.sandbox.battery import examine
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, Sandbox

# What a canary that got out says, by its name in canaries.py, for people.
REACHED = {
    "owner": "its owner's files", "neighbour": "other Spaces' files", "shared": "what Spaces share",
    "environ": "the runner's environment", "memory": "the runner's memory", "root": "the rights of root",
    "trace": "the runner's process, to steer it", "signal": "the runner's process, to end it", "mount": "mounts",
    "namespace": "namespaces of its own", "socket": "abstract sockets", "port": "ports of this machine's loopback",
    "temporary": "others' temporary files",
}  # fmt: skip


def required(options: RunOptions, settings: Settings) -> Sandbox | None:
    """What a Space is kept in; None where its owner wants none. Raises SandboxMissing where nothing holds."""
    if not options.sandbox:
        return None
    found = chosen(settings)
    if found.holds:
        return found
    if not found.open:  # not one could be tried
        raise SandboxMissing(
            "A program with a Space's rights cannot write in a room of its own here.",
            hint="The state directory may lie below one that others may not enter: spaces-runner doctor tells.",
        )
    raise SandboxMissing(
        f"Nothing on this machine keeps a Space in: tried, it could reach {reached(found)}.",
        hint="Run it as root, or on a kernel with Landlock. Code that you trust may run with --unsafe-no-sandbox.",
    )


def chosen(settings: Settings) -> Sandbox:
    """The best that this machine has. One that does not hold is looked for again: its owner may have mended it."""
    path, state = settings.home_dir / "sandbox.json", _state()
    if (found := _kept(path, state)) is not None:
        return found
    from filelock import FileLock  # once a boot

    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):  # of many launches at once, one tries
        found = _kept(path, state) or examine(settings)
        if found.holds:
            part = path.with_name(f".{path.name}")
            part.write_text(json.dumps({"state": state, "sandbox": encode(found)}))
            part.replace(path)
    return found


def known(settings: Settings) -> Sandbox | None:
    """What was found out since the boot; None before that. Tries nothing."""
    return _kept(settings.home_dir / "sandbox.json", _state())


def made_of(found: Sandbox) -> str:
    """What keeps Spaces in, in words."""
    has = (("a user of its own", os.geteuid() == 0), ("Landlock", found.enclosed), ("seccomp", found.filtered))
    return ", ".join(name for name, there in has if there) or "nothing"


def reached(found: Sandbox) -> str:
    """What a Space can reach all the same, in words."""
    return ", ".join(REACHED.get(name, name) for name in found.open)


def _kept(path: Path, state: str) -> Sandbox | None:
    """What was found out; None where it was not, or for another kernel or another version."""
    try:
        kept = json.loads(path.read_text())
        return decode(Sandbox, kept["sandbox"]) if kept["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state() -> str:
    """What the answer depends on: the running kernel, who asks, and the program that asks."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    files = sorted(Path(__file__).parent.glob("*.py"))
    code = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{boot} {os.geteuid()} {code[:16]}"
