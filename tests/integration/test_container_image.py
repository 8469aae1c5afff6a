"""The Dockerfile's image, for real: built on a base of this machine's own files, started, used, stopped."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from spaces_runner.sandbox import battery
from spaces_runner.settings import Settings, read_settings
from tests.support import base_image
from tests.support.podman import Podman
from tests.support.shims import until

pytestmark = pytest.mark.network_index

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/how-to/container.md").read_text()
BASE, IMAGE = "localhost/spaces-runner-tests/python:1", "localhost/spaces-runner-tests/image:1"
STATE = "/var/lib/spaces-runner"
# A machine's own limits may be below the engine's defaults; for processes a Space's own limit has to fit in.
LIMITS = ("--ulimit", "nofile=1024:20000", "--ulimit", "nproc=16384:16384")
BUILD_S, START_S, SPACE_S, STOP_S = 400.0, 60.0, 60.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One that runs the page. `port`: where this machine reaches it."""

    engine: Podman
    name: str
    port: int

    def run(self, *command: str) -> str:
        return self.engine.ask("exec", self.name, *command)

    def answer(self, *command: str) -> Any:
        return json.loads(self.run("spaces-runner", *command, "--json"))

    @property
    def link(self) -> str:
        """What it printed, at the port that this machine has for it."""
        said = self.engine.ask("logs", self.name)
        found = re.search(r"http://127\.0\.0\.1:7860/\?token=\S+", said)
        assert found, said
        return found[0].replace("7860", str(self.port))


Start = Callable[[str, str], Container]


@pytest.fixture(scope="module")
def engine(podman: Podman) -> Podman:
    """With a storage that does not copy all of an image for each step, where the file system can do that."""
    program, rest = podman.command[0], podman.command[podman.command.index("--storage-driver") + 2 :]
    storage = ("--root", str(podman.folder / "layers"), "--runroot", str(podman.folder / "run-layers"))
    layered = replace(podman, command=(program, *storage, "--storage-driver", "overlay", *rest))
    can = subprocess.run((*layered.command, "info"), capture_output=True, check=False, timeout=30)
    return layered if can.returncode == 0 else podman


def index_of(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """How packages are found here, as variables for pip and uv, and the folders that those name."""
    links = settings.find_links
    told = {
        "PIP_INDEX_URL": settings.index_url,
        "PIP_EXTRA_INDEX_URL": " ".join(settings.extra_index_urls),
        "PIP_FIND_LINKS": " ".join(links),
        "UV_DEFAULT_INDEX": settings.index_url,
        "UV_INDEX": " ".join(settings.extra_index_urls),
        "UV_FIND_LINKS": ",".join(links),
        "SSL_CERT_FILE": settings.ca_file,
        "PIP_CERT": settings.ca_file,
    }
    named = [link.removeprefix("file://") for link in (*links, *settings.extra_index_urls, settings.index_url or "")]
    folders = [word for word in (*named, settings.ca_file or "") if word.startswith("/")]
    return {name: value for name, value in told.items() if value}, folders


@pytest.fixture(scope="module")
def mounts() -> list[str]:
    """Flags that give a container this machine's package folders."""
    return [word for folder in index_of(read_settings())[1] for word in ("--volume", f"{folder}:{folder}:ro")]


@pytest.fixture(scope="module")
def image(engine: Podman, mounts: list[str], package_cache: Path) -> Iterator[str]:
    """Built as an owner would, without the engine of the models: torch alone is twice as large as all the rest."""
    _make_base(engine, index_of(read_settings())[0])
    cache = package_cache / "cache"
    cache.mkdir(mode=0o755, exist_ok=True)
    flags = ("--isolation=chroot", "--network", "host", "--format", "docker", "--layers=false", *LIMITS)
    given = ("--build-arg", f"BASE={BASE}", "--build-arg", "TORCH=none", "--volume", f"{cache}:/root/.cache/uv")
    done = subprocess.run(
        (*engine.command, "build", *flags, *given, *mounts, "--tag", IMAGE, str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield IMAGE
    ending = (*engine.command, "rm", "--all", "--force", "--time", "0", "--volumes")
    subprocess.run(ending, capture_output=True, check=True, timeout=BUILD_S)


def _make_base(engine: Podman, environ: Mapping[str, str]) -> None:
    """With `environ` as its variables."""
    folder = engine.folder / "base"
    folder.mkdir()
    try:
        base_image.write(folder / "files.tar")
    except base_image.Unable as unable:
        pytest.skip(str(unable))
    variables = (f'ENV {name}="{value}"' for name, value in environ.items())
    (folder / "Dockerfile").write_text("\n".join(("FROM scratch", "ADD files.tar /", "RUN ldconfig", *variables)))
    engine.ask("build", "--isolation=chroot", "--layers=false", *LIMITS, "--tag", BASE, str(folder))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def start(engine: Podman, image: str, mounts: list[str]) -> Start:
    """Starts the image on a volume, and waits until it says that it is healthy."""

    def started(name: str, volume: str) -> Container:
        given = ("--detach", "--name", name, "--publish", "127.0.0.1::7860", "--volume", f"{volume}:{STATE}")
        engine.ask("run", *given, "--volume", f"{ROOT / 'tests/spaces'}:/spaces:ro", *mounts, *LIMITS, image)
        until(lambda: _healthy(engine, name) or name not in engine.ask("ps", "--format", "{{.Names}}").split(), START_S)
        assert _healthy(engine, name), subprocess.run((*engine.command, "logs", name), check=False, timeout=START_S)
        port = int(engine.ask("port", name, "7860").rpartition(":")[2])
        return Container(engine=engine, name=name, port=port)

    return started


def _healthy(engine: Podman, name: str) -> bool:
    """By the image's own check. Without a systemd Podman does not ask by itself."""
    command = (*engine.command, "healthcheck", "run", name)
    return subprocess.run(command, capture_output=True, check=False, timeout=START_S).returncode == 0


@pytest.fixture(scope="module")
def container(start: Start) -> Container:
    """As by the command of the docs."""
    return start("first", "state")


def opened(link: str) -> tuple[str, str]:
    """Where a browser that keeps cookies ends, and what it reads there."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with browser.open(urllib.request.Request(link, headers={"Accept": "text/html"}), timeout=20) as answer:
        return answer.url, answer.read().decode()


def test_the_link_that_it_prints_opens_the_page(container: Container) -> None:
    url, page = opened(container.link)
    assert url == f"http://127.0.0.1:{container.port}/studio/"
    assert "Spaces Runner" in page
    url, page = opened(f"http://localhost:{container.port}/")
    assert url.endswith("/")
    assert "gradio" in page


def test_a_space_runs_inside_and_outlives_its_container(container: Container, start: Start) -> None:
    space = container.answer("run", "/spaces/static-plain", "--no-share", "--detach")
    until(lambda: container.answer("ps")[0]["stage"] not in ("BUILDING", "APP_STARTING"), SPACE_S)
    (status,) = container.answer("ps")
    assert status["stage"] == "RUNNING", container.run("spaces-runner", "logs", space["id"])
    fetch = f"from urllib.request import urlopen; print(urlopen({status['local_url']!r}, timeout=20).read().decode())"
    assert "A plain page" in container.run("python", "-c", fetch)
    rights = container.run("cat", f"/proc/{status['pid']}/status")
    user, able = re.findall(r"^(?:Uid|CapEff):\s+(\w+)", rights, re.MULTILINE)
    assert int(user) >= read_settings({}).uid_base
    assert int(able, 16) == 0

    link = container.link
    container.engine.ask("stop", "--time", str(int(STOP_S)), container.name)
    later = start("second", "state")
    assert later.link.partition("token")[2] == link.partition("token")[2]
    (status,) = later.answer("ps")
    assert (status["id"], status["stage"], status["error"]) == (space["id"], "STOPPED", None)


@pytest.mark.parametrize("user", ["root", "runner"])
def test_what_keeps_a_space_in_is_what_the_docs_say(engine: Podman, image: str, user: str, settings: Settings) -> None:
    told = engine.ask(
        "run", "--rm", "--user", user, *LIMITS, "--entrypoint", "spaces-runner", image, "doctor", "--json"
    )
    checks = {check["name"]: check for check in json.loads(told)}
    assert (checks["home"]["verdict"], checks["home"]["detail"]) == ("ok", STATE)
    here = battery.examine(settings)
    if not (here.enclosed and here.filtered):
        pytest.skip("needs a kernel with Landlock, and libseccomp")
    documented = re.search(rf"^\| `{user}` \| ([^|]+) \|", GUIDE, re.MULTILINE)
    assert documented
    assert checks["sandbox"]["detail"].partition(";")[0] == documented[1]
