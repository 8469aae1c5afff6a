"""Repositories and addresses made to harm, against the real checkout with real git over HTTP.

What is here is what tests/integration/test_checkout.py (links, submodules, names, hooks and templates, attributes,
tokens) and tests/integration/test_lfs.py (`.lfsconfig`, objects that lie) do not hold yet.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spaces_runner.checkout import listing, obtain
from spaces_runner.errors import RunnerError, UnsafeTree
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind, SpaceRef
from tests.support.checkouts import Told, contents, leftovers, take
from tests.support.hub import Hub
from tests.support.hub_repos import Executable, Repository, Symlink

FILES = {"README.md": "---\nsdk: gradio\n---\n", "app.py": "print('hi')\n"}


@pytest.fixture
def at_hub(settings: Settings, hub: Hub) -> Settings:
    return hub.settings(settings)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What an attack makes when it has run something."""
    return tmp_path / "ran"


# What the paste field refuses already (tests/unit/test_ref.py), handed to the checkout as if it had not.


@pytest.mark.parametrize(
    "source",
    ["ext::sh -c touch% {marker}", "--upload-pack=touch {marker}", "file://{repository}", "{repository}", "-u{marker}"],
)
def test_an_address_that_is_none_runs_and_reads_nothing(at_hub: Settings, hub: Hub, marker: Path, source: str) -> None:
    hub.add_space("o/n", FILES)
    text = source.format(marker=marker, repository=hub.repository("o/n").path)
    ref = SpaceRef(kind=RefKind.GIT, source=text)
    with pytest.raises(RunnerError):
        obtain(ref, at_hub.space("one").app, at_hub, Told().reporter)
    assert not marker.exists()
    assert not at_hub.space("one").app.exists()
    assert leftovers(at_hub) == []


@pytest.mark.parametrize(
    "revision", ["--upload-pack=touch {marker}", "-x", "--exec=touch {marker}", "main^{{tree}}", ".."]
)
def test_a_revision_that_is_an_option_is_none(at_hub: Settings, hub: Hub, marker: Path, revision: str) -> None:
    hub.add_space("o/n", FILES)
    ref = SpaceRef(kind=RefKind.HUB, source="o/n", revision=revision.format(marker=marker))
    with pytest.raises(RunnerError):
        obtain(ref, at_hub.space("one").app, at_hub, Told().reporter)
    assert not marker.exists()
    assert leftovers(at_hub) == []


# What a repository holds.


def test_filters_that_attributes_name_are_not_run(
    at_hub: Settings, hub: Hub, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that the owner has configured for work of their own, which a stranger's attributes may name."""
    config = tmp_path / "gitconfig"
    config.write_text(f'[filter "mine"]\n\tsmudge = touch {marker}\n\tprocess = touch {marker}\n\trequired = true\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    hub.add_space("o/n", {**FILES, ".gitattributes": "* filter=mine diff=mine merge=mine\n"})
    assert contents(Path(take("o/n", at_hub).path))["app.py"] == b"print('hi')\n"
    assert not marker.exists()


def test_a_repository_inside_the_repository_is_only_files(at_hub: Settings, hub: Hub, marker: Path) -> None:
    """`git status` in such a folder would run its monitor."""
    config = f"[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = touch {marker}\n\tworktree = .\n"
    inner = {"inner/HEAD": "ref: refs/heads/main\n", "inner/config": config, "inner/objects/x": "", "inner/refs/x": ""}
    hooks = {"inner/hooks/post-checkout": Executable(f"#!/bin/sh\ntouch {marker}\n")}
    hub.add_space("o/n", {**FILES, **inner, **hooks})
    checkout = take("o/n", at_hub)
    hub.commit("o/n", {"app.py": "print('new')\n"})
    assert contents(Path(take("o/n", at_hub).path))["inner/config"] == config.encode()
    assert checkout.findings == ()
    assert not marker.exists()


def test_git_never_runs_where_a_space_has_written(at_hub: Settings, hub: Hub, marker: Path) -> None:
    """An app makes a repository of its own directory; the next launch, by the owner's user, must not step into it."""
    hub.add_space("o/n", FILES)
    app = Path(take("o/n", at_hub).path)
    subprocess.run(["git", "init", "--quiet", "--template=", str(app)], check=True, timeout=30)
    with (app / ".git/config").open("a") as config:
        config.write(f'[core]\n\tfsmonitor = touch {marker}\n[filter "lfs"]\n\tsmudge = touch {marker}\n')
    (app / ".gitattributes").write_text("* filter=lfs\n")
    (app / ".git/hooks").mkdir()
    (app / ".git/hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (app / ".git/hooks/post-checkout").chmod(0o755)
    hub.commit("o/n", {"app.py": "print('new')\n"})
    again = contents(Path(take("o/n", at_hub).path))
    assert again == {"README.md": FILES["README.md"].encode(), "app.py": b"print('new')\n"}
    assert not marker.exists()


def test_a_place_that_a_space_made_a_link_is_not_written_through(at_hub: Settings, hub: Hub, tmp_path: Path) -> None:
    hub.add_space("o/n", FILES)
    app = Path(take("o/n", at_hub).path)
    (tmp_path / "owners").mkdir()
    (app / "app.py").unlink()
    (app / "app.py").symlink_to(tmp_path / "owners" / "app.py")
    hub.commit("o/n", {"app.py": "print('new')\n"})
    take("o/n", at_hub)
    assert list((tmp_path / "owners").iterdir()) == []
    assert not (app / "app.py").is_symlink()


# What is small to send and endless to unpack.


def bomb(repository: Repository, wide: int, deep: int) -> None:
    """A tree of `wide` entries, each the tree below, `deep` of them: wide ** deep files in a pack of a few bytes."""
    blob = repository.git("hash-object", "-w", "--stdin", stdin=b"x").decode().strip()
    mode, below = b"100644", bytes.fromhex(blob)
    for _ in range(deep):
        body = b"".join(mode + b" f%02d\0" % number + below for number in range(wide))
        tree = repository.git("hash-object", "-t", "tree", "-w", "--stdin", stdin=body).decode().strip()
        mode, below = b"40000", bytes.fromhex(tree)
    commit = repository.git("commit-tree", tree, "-m", "x").decode().strip()
    repository.git("update-ref", "refs/heads/main", commit)


@pytest.mark.parametrize(("wide", "deep"), [(10, 10), (1, 1500), (900, 2)], ids=["wide", "deep", "flat"])
def test_a_tree_that_multiplies_is_given_up(at_hub: Settings, hub: Hub, wide: int, deep: int) -> None:
    hub.add_space("o/n", FILES)
    bomb(hub.repository("o/n"), wide, deep)
    begun = time.monotonic()
    with pytest.raises(RunnerError) as caught:
        take("o/n", at_hub)
    assert time.monotonic() - begun < 30
    assert isinstance(caught.value, UnsafeTree), caught.value
    assert not at_hub.space("one").app.exists()
    assert leftovers(at_hub) == []


def test_links_that_lead_through_each_other_take_no_time(at_hub: Settings, hub: Hub) -> None:
    """Each of many links passes forty others with paths as long as there can be."""
    long = "/".join(["a"] * 2000)
    links = {f"l{number:04}": Symlink(f"l{number + 1:04}/{long}") for number in range(600)}
    hub.add_space("o/n", {**FILES, **links})
    begun = time.process_time()
    checkout = take("o/n", at_hub)
    assert time.process_time() - begun < 10
    assert [finding.code for finding in checkout.findings] == ["link-left-out"]


def test_as_many_files_as_an_honest_space_has(at_hub: Settings, hub: Hub) -> None:
    assert listing.MAX_FILES > 100_000  # what the Hub advises at most
    hub.add_space("o/n", {**FILES, **{f"d{number % 50}/{number}.txt": "x" for number in range(3000)}})
    assert len(contents(Path(take("o/n", at_hub).path))) == 3002


# Where a server leads.


class Sink(BaseHTTPRequestHandler):
    """A service of the owner's network, which must not be asked; and one that leads there."""

    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.path} {self.headers.get('Authorization', '')}")
        self.send_response(302 if self.server.leads_to else 200)
        if self.server.leads_to:
            self.send_header("Location", self.server.leads_to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Service(ThreadingHTTPServer):
    def __init__(self, leads_to: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Sink)
        self.leads_to = leads_to
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def sink() -> Iterator[Service]:
    with Service() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()


@pytest.mark.parametrize("scheme", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
def test_a_server_cannot_lead_to_another_protocol(settings: Settings, scheme: str) -> None:
    with Service(scheme) as leading:
        threading.Thread(target=leading.serve_forever, daemon=True).start()
        host = leading.url.removeprefix("http://")
        hosts = replace(settings, git_hosts=(host,))
        with pytest.raises(RunnerError):
            take(f"{leading.url}/team/space", hosts)
        leading.shutdown()
        assert leading.asked
    assert not hosts.space("one").app.exists()


def test_a_server_that_leads_elsewhere_is_not_followed_with_a_token(settings: Settings, sink: Service) -> None:
    with Service(f"{sink.url}/stolen") as leading:
        threading.Thread(target=leading.serve_forever, daemon=True).start()
        there = replace(settings, hf_endpoint=leading.url, hf_token="hf_averysecrettoken")
        with pytest.raises(RunnerError):
            take("o/n", there)
        leading.shutdown()
        assert any("Basic" in line for line in leading.asked), "the token is for the Hub"
    assert not any("Basic" in line or "Bearer" in line for line in sink.asked), sink.asked
