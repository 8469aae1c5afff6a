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
        f"Nothing on this machine keeps a Space in: tried, it could reach {', '.join(found.open)}.",
        hint="Run it as root, or on a kernel with Landlock. Code that you trust may run with --unsafe-no-sandbox.",
    )


def chosen(settings: Settings) -> Sandbox:
    """The best that this machine has."""
    path, state = settings.home_dir / "sandbox.json", _state()
    try:
        kept = json.loads(path.read_text())
        if kept["state"] == state:
            return decode(Sandbox, kept["sandbox"])
    except (OSError, ValueError, KeyError, TypeError):  # not examined yet, or what is there is another version's
        pass
    found = examine(settings)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps({"state": state, "sandbox": encode(found)}))
    part.replace(path)
    return found


def _state() -> str:
    """What the answer depends on: the running kernel, who asks, and the program that asks."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    files = sorted(Path(__file__).parent.glob("*.py"))
    code = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{boot} {os.geteuid()} {code[:16]}"
