"""Requirements and front matter made to harm, against the code that reads them and the resolver that obeys them.

Single lines are held by tests/unit/test_requirements.py and tests/unit/test_frontmatter.py. Here a whole Space comes,
and it is looked at what is read, asked, run and said on the way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spaces_runner.detect import detect
from spaces_runner.errors import BadFrontMatter, BadRequirements, RunnerError
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, RefKind, RunOptions, SpaceFile, SpaceRef
from tests.support.spaces_env import TinySpace, wheel

SECRET = "hf_the_owners_own_secret_line"


class Service(ThreadingHTTPServer):
    """A service of the owner's network: it notes who asks, and has nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.path} {dict(self.headers)}")
        self.send_error(404)

    do_HEAD = do_GET  # noqa: N815  # http.server's name for it

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(f"{SECRET}\n")
    return path


OUTSIDE = {
    "an include": "-r {secret}",
    "an include with an equals sign": "--requirement={secret}",
    "constraints": "-c {secret}",
    "a project": "-e {secret.parent}",
    "a project at an address": "-e file://{secret.parent}",
    "a file at an address": "x @ file://{secret}",
    "an address with a host": "x @ file://localhost{secret}",
    "an encoded address": "x @ file://%2F{secret}",
    "a page of wheels": "-f {secret.parent}\nx",
    "a page of wheels at an address": "--find-links=file://{secret.parent}\nx",
    "an index of files": "--index-url file://{secret.parent}\nx",
    "a further index of files": "--extra-index-url file://{secret.parent}\nx",
    "a repository of files": "x @ git+file://{secret.parent}",
    "a repository of files without a name": "git+file://{secret.parent}#egg=x",
    "a program as a repository": "git+ext::sh%20-c%20true#egg=x",
    "a variable": "--index-url https://${{HF_TOKEN}}@127.0.0.1/\nx",
}


@pytest.mark.parametrize("field", ["requirements", "pre"])
@pytest.mark.parametrize("line", OUTSIDE.values(), ids=OUTSIDE)
def test_a_line_that_leads_out_is_refused_before_anything_is_asked(
    settings: Settings, secret: Path, line: str, field: str
) -> None:
    text = line.format(secret=secret) + "\n"
    files = {"pre.txt": text.encode()} if field == "pre" else {"requirements.txt": text.encode()}
    space = TinySpace(settings=settings, files=files, pre="pre.txt" if field == "pre" else None)
    begun = time.monotonic()
    with pytest.raises(BadRequirements) as caught:
        space.resolve()
    assert time.monotonic() - begun < 10
    said = " ".join([caught.value.message, caught.value.hint, *caught.value.lines, *space.log, str(space.events)])
    assert SECRET not in said


@pytest.mark.network_index
def test_files_that_steer_the_resolver_are_not_obeyed(settings: Settings, service: Service, tmp_path: Path) -> None:
    """uv reads `uv.toml` and `pyproject.toml` of where it is started, pip and setuptools theirs."""
    marker = tmp_path / "ran"
    steering = f'index-url = "{service.url}/simple"\nextra-index-url = ["{service.url}/more"]\n'
    runs = f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n"
    files = {
        "uv.toml": steering,
        "pyproject.toml": f'[project]\nname = "x"\nversion = "1"\n[tool.uv]\n{steering}',
        "pip.conf": f"[global]\nindex-url = {service.url}/pip\n",
        ".netrc": "machine 127.0.0.1 login a password b\n",
        "setup.py": runs,
        "sitecustomize.py": runs,
        "usercustomize.py": runs,
        ".python-version": "2.7\n",
        "requirements.txt": "cowsay==6.1\n",
    }
    space = TinySpace(settings=settings, files={name: text.encode() for name, text in files.items()})
    resolution = space.resolve()
    assert "cowsay==6.1" in [package.partition(" @ ")[0] for package in resolution.packages]
    assert service.asked == []
    assert not marker.exists()


@pytest.mark.network_index
def test_an_index_of_a_strangers_gets_no_password(settings: Settings, service: Service) -> None:
    space = TinySpace(settings=settings, requirements=f"--extra-index-url {service.url}/simple\ncowsay==6.1\n")
    space.resolve()
    assert service.asked
    assert not any("authorization" in asked.lower() for asked in service.asked)


@pytest.mark.network_index
def test_a_wheel_of_the_space_cannot_ask_for_a_file_of_the_owners(settings: Settings, secret: Path) -> None:
    """What a package requires is read by the resolver, too, and not by our reader of requirements."""
    own = "own_thing-1.0-py3-none-any.whl"
    packed = wheel("own_thing", "1.0", "ANSWER = 42\n", requires=f"evil @ file://{secret}")
    space = TinySpace(settings=settings, files={"requirements.txt": f"./{own}\n".encode(), own: packed})
    with pytest.raises(RunnerError) as caught:
        space.resolve()
    assert SECRET not in " ".join([caught.value.message, *caught.value.lines, *space.log])


# Front matter


FRONT = {
    "aliases of aliases": "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "an alias of itself": "a: &a [*a]\n",
    "deep": "a: " + "[" * 3000 + "]" * 3000 + "\n",
    "a deep mapping": "".join(f"{' ' * depth}a:\n" for depth in range(200)),
    "a merge of itself": "a: &a\n  <<: *a\n",
    "a program": "title: !!python/object/apply:os.system ['touch {marker}']\n",
    "a file outside": "app_file: ../../../etc/passwd\n",
    "an absolute file": "app_file: /etc/passwd\n",
    "an option": "app_file: --help\npython_version: --version\nsdk_version: -r/etc/passwd\n",
    "another kind of value": "app_file: [a, b]\nsdk: {{x: y}}\nmodels: {{a: b}}\n",
    "a model outside": "models: ['../../../etc']\npreload_from_hub: ['../../x y,z']\n",
    "control characters": 'title: "\\e[2J\\a"\nemoji: "\\u202e"\n',
}  # fmt: skip


@pytest.mark.parametrize("text", FRONT.values(), ids=FRONT)
def test_front_matter_is_told_or_harmless_and_quick(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "ran"
    app = tmp_path / "app"
    app.mkdir()
    text = text.replace("{marker}", str(marker)).replace("{{", "{").replace("}}", "}")
    sdk = "" if "sdk:" in text else "sdk: gradio\n"
    files = {"README.md": f"---\n{sdk}{text}---\n", "app.py": "import gradio as gr\ngr.Blocks().launch()\n"}
    for name, content in files.items():
        (app / name).write_text(content)
    listed = tuple(SpaceFile(path=name, size_bytes=len(content)) for name, content in files.items())
    ref = SpaceRef(kind=RefKind.HUB, source="owner/one")
    begun = time.process_time()
    try:
        spec = detect(Checkout(ref=ref, commit="c" * 40, path=str(app), committed_at=None, files=listed), RunOptions())
    except RunnerError as refused:
        assert refused.hint or isinstance(refused, BadFrontMatter)
    else:
        assert (app / spec.app_file).resolve().is_relative_to(app)
        assert not spec.app_file.startswith(("-", "/"))
    assert time.process_time() - begun < 2
    assert not marker.exists()
