"""The corpus of tests/spaces: tiny Spaces, each with a case.toml that says what must hold, and how that is looked at.

[expect]  stage; for RUNNING: gradio (version, "" where it is not Gradio), api {name, args, value} or, without Gradio,
          get {path, value}, links (how many launches), path (of the app, below its link), text and headers (of its
          page), auth, packages (needed besides Gradio's); otherwise: code (of the error), text (in its message, lines
          or log); findings (codes among those shown)
[run]     args, env, secrets: what the owner passes; needs: programs without which the case is skipped; without: those
          that the machine is to be without
[space]   committed: the day of its last commit, "2023-05-20"; without it there is no history
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client

from tests.support import old_client
from tests.support.hub_repos import GIT_ENV

CORPUS = Path(__file__).parents[1] / "spaces"
STANDARD_GRADIO = "6.31.0"
# No gradio_client of their time can be had, speaks to them without a queue, or is at ease with the httpx of today.
BEFORE_CLIENTS = ("2.", "3.0.", "3.29.", "4.0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    name: str
    args: list[Any]
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """An endpoint of an app that is not Gradio, and what it answers."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One directory of the corpus. An unknown key in its case.toml is an error."""

    name: str
    stage: str
    gradio: str = ""
    api: Api | None = None
    get: Get | None = None
    links: int = 1
    path: str = ""
    text: str = ""
    auth: tuple[str, str] | None = None
    packages: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    code: str = ""
    findings: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    committed: str = ""
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    @property
    def sdk(self) -> str:
        found = re.search(r"^sdk: (\w+)\r?$", (self.folder / "README.md").read_text(encoding="utf-8-sig"), re.MULTILINE)
        return found[1] if found else ""

    @property
    def runs(self) -> bool:
        return self.stage == "RUNNING"

    @property
    def standard(self) -> bool:
        """Whether the environment that most cases share is enough."""
        return self.runs and self.sdk == "gradio" and self.gradio in ("", STANDARD_GRADIO) and not self.packages

    def lay(self, target: Path) -> Path:
        """The Space as its author has it, at `target`."""
        shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns("case.toml", "__pycache__"))
        if self.committed:
            _commit(target, self.committed)
        return target


def _commit(folder: Path, day: str) -> None:
    """One commit of all that is there, of that day at noon."""
    env = {**GIT_ENV, "GIT_AUTHOR_DATE": f"{day}T12:00:00+00:00", "GIT_COMMITTER_DATE": f"{day}T12:00:00+00:00"}
    for arguments in (["init", "-q", "--template=", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "Space"]):
        subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, timeout=30)


def read_case(folder: Path) -> Case:
    data = tomllib.loads((folder / "case.toml").read_text())
    fields = {**data.pop("expect"), **data.pop("run", {}), **data.pop("space", {})}
    assert not data, f"{folder.name}: {list(data)}"
    for name in ("findings", "args", "packages", "auth", "needs", "without"):
        if name in fields:
            fields[name] = tuple(fields[name])
    if "api" in fields:
        fields["api"] = Api(**fields["api"])
    if "get" in fields:
        fields["get"] = Get(**fields["get"])
    return Case(name=folder.name, **fields)


def collect() -> list[Case]:
    """Every case, by name."""
    return [read_case(path.parent) for path in sorted(CORPUS.glob("*/case.toml"))]


def path_without(names: tuple[str, ...], path: str, folder: Path) -> str:
    """A PATH with all programs of `path` but those, as links in `folder`."""
    folder.mkdir()
    for entry in (entry for part in reversed(path.split(":")) if Path(part).is_dir() for entry in Path(part).iterdir()):
        if entry.name not in names:
            link = folder / entry.name
            link.unlink(missing_ok=True)
            link.symlink_to(entry)
    return str(folder)


def check_page(case: Case, url: str) -> None:
    """The link answers 200 with what the case expects, and Gradio's config names its version."""
    address = url.rstrip("/") + "/" + case.path
    with httpx.Client(timeout=20, follow_redirects=True, trust_env=False) as web:
        page = web.get(address)
        assert page.status_code == 200, page.text[:500]
        assert case.text in page.text
        assert {name: page.headers.get(name) for name in case.headers} == case.headers
        if case.gradio:
            if case.auth:
                assert web.get(address + "config").status_code == 401
                name, password = case.auth
                web.post(address + "login", data={"username": name, "password": password}).raise_for_status()
            assert _version(web, address) == case.gradio


def _version(web: httpx.Client, address: str) -> str:
    """What Gradio says of itself: in its configuration, or before that told it, in its page."""
    config = web.get(address + "config").json()
    if "version" in config:
        return str(config["version"]).strip()  # Gradio 3 ends it with a line break
    found = re.search(r'version": "([0-9.]+)"', web.get(address).text)
    return found[1] if found else ""


def check_api(case: Case, url: str) -> None:
    """The named endpoint returns the value: through gradio_client, or over HTTP where the app is not Gradio."""
    address = url.rstrip("/") + "/" + case.path
    if case.get is not None:
        answer = httpx.get(address + case.get.path, timeout=20, trust_env=False).raise_for_status()
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        assert (answer.json() if is_json else answer.text) == case.get.value
    if case.api is None:
        return
    if case.gradio.startswith(BEFORE_CLIENTS):
        said = {"data": case.api.args, "fn_index": 0}
        answer = httpx.post(f"{address}api{case.api.name}/", json=said, timeout=20, trust_env=False)
        assert answer.raise_for_status().json()["data"] == [case.api.value]
        return
    if case.gradio.startswith("3."):
        assert old_client.predict(address, case.api.args, case.api.name) == case.api.value
        return
    client = Client(address, auth=case.auth, verbose=False)
    try:
        assert client.predict(*case.api.args, api_name=case.api.name) == case.api.value
    finally:
        client.close()
