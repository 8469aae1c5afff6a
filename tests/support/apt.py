"""Debian's own apt and dpkg over a root directory of their own: what they install is not on this machine."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from spaces_runner.apt.system import System

CONFIG = """
Dir "{root}/";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Bin::dpkg "/usr/bin/dpkg";
Dir::Bin::methods "/usr/lib/apt/methods";
DPkg::Options {{ "--root={root}"; "--log={root}/dpkg.log"; }};
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "true";
"""
DIRECTORIES = (
    "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d",
    "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates",
    "var/log/apt", "repository", "tools",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """A Debian with no package installed, and a repository of packages that a test makes."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Machine:
        for name in DIRECTORIES:
            (root / name).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{root}/repository ./\n")
        (root / "apt.conf").write_text(CONFIG.format(root=root))
        machine = cls(root)
        for program in ("apt-get", "apt-cache"):
            machine.tool(program, f'APT_CONFIG={root}/apt.conf exec /usr/bin/{program} "$@"')
        machine.tool("dpkg", f'exec /usr/bin/dpkg --root={root} "$@"')
        return machine

    def tool(self, name: str, script: str) -> None:
        path = self.root / "tools" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.root}/asked\n{script}\n')
        path.chmod(0o755)

    @property
    def path(self) -> str:
        return f"{self.root}/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    @property
    def system(self) -> System:
        return System(path=self.path, lists=self.root / "var/lib/dpkg/info", environ={})

    @property
    def asked(self) -> list[str]:
        """The commands that were run, oldest first."""
        path = self.root / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def package(self, name: str, **fields: str) -> None:
        """Put a package into the repository. Its lists are not fetched yet."""
        told = {"Package": name, "Version": "1.0", "Architecture": "all", "Maintainer": "T <t@example.org>"}
        told |= {"Description": name, **{field.replace("_", "-"): value for field, value in fields.items()}}
        control = "".join(f"{field}: {value}\n" for field, value in told.items())
        folder = self.root / "building" / name
        (folder / "DEBIAN").mkdir(parents=True)
        (folder / "usr/share" / name).mkdir(parents=True)
        (folder / "usr/share" / name / "here").touch()
        (folder / "DEBIAN/control").write_text(control)
        deb = self.root / "repository" / f"{name}.deb"
        build = ["dpkg-deb", "--root-owner-group", "--build", str(folder), str(deb)]
        subprocess.run(build, check=True, capture_output=True, timeout=30)
        data = deb.read_bytes()
        listed = f"{control}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        with (self.root / "repository" / "Packages").open("a") as file:
            file.write(listed)

    def has(self, name: str) -> bool:
        return (self.root / "usr/share" / name / "here").exists()
