"""Podman with a storage and a base image of the tests' own: no registry is asked, none of the machine's is touched."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from spaces_runner.settings import Settings

BASE = "localhost/spaces-runner-tests/base:1"
TOOLS = ("sh", "sleep", "env", "cat", "echo", "test", "mkdir", "chown", "wc", "httpd", "kill", "ls", "true")
# Machines with low limits, or without a systemd and cgroups that can be handed on, run containers with these.
LOW = ("--ulimit", "nofile=1024:20000", "--ulimit", "nproc=1024:1024")
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """The engine under test. `folder`: its storage."""

    command: tuple[str, ...]
    folder: Path

    def settings(self, settings: Settings) -> Settings:
        """Those of a runner that uses it."""
        return replace(
            settings,
            container_flags=self.command[1:],
            container_build_flags=("--isolation=chroot", *LOW),
            container_run_flags=LOW,
        )

    def ask(self, *arguments: str) -> str:
        done = subprocess.run(
            (*self.command, *arguments), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def containers(self) -> list[str]:
        return self.ask("ps", "--all", "--format", "{{.Names}}").split()

    def images(self, label: object) -> list[str]:
        return self.ask("images", "--quiet", "--filter", f"label=spaces-runner.space={label}").split()

    def build(self, folder: Path, label: object) -> None:
        """An image that is somebody else's."""
        self.ask("build", "--isolation=chroot", *LOW, "--label", f"spaces-runner.space={label}", str(folder))


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Skips, with the reason, where no container can be run."""
    program, busybox = shutil.which("podman"), shutil.which("busybox")
    if program is None or busybox is None:
        pytest.skip("needs podman and busybox:  apt-get install podman runc busybox-static")
    folder = Path(tempfile.mkdtemp(prefix="sr-podman-"))
    storage = ("--root", str(folder / "root"), "--runroot", str(folder / "runroot"), "--storage-driver", "vfs")
    runtime = ("--runtime", "runc") if shutil.which("runc") else ()
    engine = Podman(command=(program, *storage, *runtime), folder=folder)
    try:
        _make_base(engine, Path(busybox))
        _try(engine)
        yield engine
    finally:
        subprocess.run(
            (*engine.command, "rm", "--all", "--force", "--time", "0"),
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )
        shutil.rmtree(folder, ignore_errors=True)


def _make_base(engine: Podman, busybox: Path) -> None:
    """An image of one static program, under its many names."""
    archive = engine.folder / "base.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox.resolve(), "bin/busybox")
        for name in TOOLS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "etc", "run"):
            room = tarfile.TarInfo(name)
            room.type, room.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(room)
    done = subprocess.run(
        (*engine.command, "import", str(archive), BASE), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    if done.returncode != 0:
        pytest.skip(f"Podman cannot keep an image here: {done.stderr.strip()[-300:]}")


def _try(engine: Podman) -> None:
    """A container as the runner starts them: with a port, and limits."""
    flags = ("--rm", *LOW, "--publish", "127.0.0.1::7860", "--memory", "256m", "--pids-limit", "64")
    done = subprocess.run(
        (*engine.command, "run", *flags, BASE, "true"), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    if done.returncode != 0:
        pytest.skip(f"Podman cannot run a container here: {done.stderr.strip()[-300:]}")
