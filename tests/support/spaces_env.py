"""Small Spaces for the tests of environments, and packages without a wheel for them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spaces_runner import environment, overlay
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import (
    Checkout,
    Confinement,
    Environment,
    Event,
    RefKind,
    Resolution,
    RunOptions,
    Sandbox,
    Sdk,
    SpaceFile,
    SpaceRef,
    SpaceSpec,
    User,
)

ROOT = os.geteuid() == 0
SPACE_USER = User(uid=61987, gid=61987) if ROOT else None
UNDER = Confinement(user=SPACE_USER, sandbox=Sandbox(holds=True, enclosed=True, filtered=True, open=()))


@dataclass(kw_only=True)
class TinySpace:
    """A Space whose environment is made for real. `log` and `events` are what was reported."""

    settings: Settings
    name: str = "owner-one"
    requirements: str = ""
    sdk: Sdk = Sdk.GRADIO
    gradio: str | None = "6.31.0"  # or the version of another SDK
    python: str | None = "3.11"
    commit: str = "c" * 40
    committed_at: str | None = None
    imports: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    pre: str | None = None  # the file whose requirements come first
    log: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.settings.space(self.name).root

    @property
    def spec(self) -> SpaceSpec:
        return SpaceSpec(
            sdk=self.sdk,
            sdk_version=self.gradio,
            python_version=self.python,
            requirements="requirements.txt",
            pre_requirements=self.pre,
            imports=self.imports,
        )

    def checkout(self) -> Checkout:
        app = self.root / "app"
        shutil.rmtree(app, ignore_errors=True)
        app.mkdir(parents=True)
        contents = {"requirements.txt": self.requirements.encode(), **self.files}
        for path, content in contents.items():
            (app / path).parent.mkdir(parents=True, exist_ok=True)
            (app / path).write_bytes(content)
        ref = SpaceRef(kind=RefKind.HUB, source="owner/one")
        files = tuple(SpaceFile(path=path, size_bytes=len(content)) for path, content in contents.items())
        return Checkout(ref=ref, commit=self.commit, path=str(app), committed_at=self.committed_at, files=files)

    def scratch(self) -> Path:
        path = self.root / "build"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    @property
    def report(self) -> Reporter:
        return Reporter(emit=self.events.append, log=self.log.append)

    def resolve(self, options: RunOptions | None = None) -> Resolution:
        return environment.resolve(
            self.spec,
            self.checkout(),
            options or RunOptions(),
            self.settings,
            self.report,
            UNDER,
            self.scratch(),
        )

    def build(self, resolution: Resolution | None = None, scratch: Path | None = None) -> Environment:
        resolution = resolution or self.resolve()
        checkout = self.checkout()
        return environment.build(
            resolution,
            self.spec,
            checkout,
            self.settings,
            self.report,
            UNDER,
            scratch or self.scratch(),
            self.name,
        )

    def python_of(self, built: Environment) -> Path:
        return Path(overlay.lay(built, self.settings.space(self.name).venv, SPACE_USER))


def named(space: TinySpace, name: str) -> TinySpace:
    """The same Space under another id."""
    return replace(space, name=name, log=[], events=[])


def run_as_space(command: list[str], python: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `command` as a Space's user with a clean environment whose PATH begins beside `python`."""
    user = SPACE_USER
    env = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "MPLCONFIGDIR": "/tmp/spaces-runner-matplotlib",
        **variables,
    }
    return subprocess.run(
        command,
        env=env,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


def sdist(name: str, setup: str, version: str = "1.0") -> bytes:
    """A source package whose `setup.py` begins with `setup`."""
    call = f"setup(name={name!r}, version={version!r}, py_modules=[{name!r}])"
    files = {
        "setup.py": f"{setup}\nfrom setuptools import setup\n{call}\n",
        f"{name}.py": f"VERSION = {version!r}\n",
        "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{name}-{version}/{path}")
            info.size, info.mtime = len(text), int(time.time())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def wheel(name: str, version: str, text: str, script: str = "", requires: str = "") -> bytes:
    """A wheel of one module, and of one console script that calls its `main` where `script` names it."""
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}:main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()
