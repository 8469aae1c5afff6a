"""The bootstrap alone: unpatched Spaces under a bridge and a real tunnel with a stand-in server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from spaces_runner import tunnel
from spaces_runner.settings import Settings
from tests.support.apps import BOOTSTRAP, Environments, Starter, left_by_a_server
from tests.support.cases import CORPUS, STANDARD_GRADIO, Case, check_api, check_page, collect, read_case
from tests.support.home import open_directory
from tests.support.share import Share

pytestmark = pytest.mark.network_index

# Not those that count on the place that a launch makes: its variables, its layer of packages, its folder.
PLACES = ("habit-", "space-in-")
CASES = [case for case in collect() if case.standard and not case.name.startswith(PLACES)]
# multiprocessing knows where its Python started, and a script that ends must not end in a fork
FRESH = {"launch-in-multiprocessing-child", "uvicorn-reload-string", "export-only-demo", "export-only-mounted"}
PAGE_MS = 30_000

REVERSE = """
import gradio as gr
demo = gr.Interface(lambda text: text[::-1], "text", "text", api_name="rev", title="Reverse")
"""
HELLO = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
"""
SERVE = HELLO + 'HTTPServer(("0.0.0.0", 7860), Hello).serve_forever()\n'


@pytest.fixture(scope="module")
def environments(shared_settings: Settings) -> Iterator[Environments]:
    room = open_directory("sr-environments-")
    yield Environments(room, shared_settings.uv_cache_dir, shared_settings)
    shutil.rmtree(room, ignore_errors=True)


@pytest.fixture(scope="module")
def _starter(environments: Environments, _share: Share, shared_settings: Settings) -> Iterator[Starter]:
    wanted = (f"gradio[oauth,mcp]=={STANDARD_GRADIO}", "spaces", "flask", "aiohttp", "gunicorn", "pip")
    python = environments.make("standard", *wanted)
    starter = Starter(python=python, ticket=tunnel.prepare(_share.settings(shared_settings)))
    yield starter
    starter.close()


@pytest.fixture
def starter(_starter: Starter) -> Iterator[Starter]:
    yield _starter
    _starter.stop()


def hello(url: str | None) -> bool:
    return url is not None and httpx.get(url, timeout=10, trust_env=False).text == "hello"


def app_file(case: Case) -> str:
    text = (case.folder / "README.md").read_text(encoding="utf-8-sig")
    [line] = [line for line in text.splitlines() if line.startswith("app_file")]
    return line.partition(":")[2].strip(' "')


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_space_as_its_author_wrote_it(case: Case, starter: Starter) -> None:
    start = starter.run if case.name in FRESH else starter.fork
    app = start(starter.app(case), app_file(case), *case.args, env={**case.env, **case.secrets})
    up = app.wait_up(case.links)
    assert app.failures == []
    for url in (up.local_url, up.share_url):
        assert url
        check_page(case, url)
        check_api(case, url)


@pytest.mark.parametrize("name", ["gradio-5-blocks", "gradio-4-unquoted-version", "gradio-3-concurrency-count"])
def test_older_gradio(name: str, starter: Starter, environments: Environments, settings: Settings) -> None:
    case = read_case(CORPUS / name)
    dates = {"5": "2025-10-10", "4": "2024-10-02", "3": "2023-10-21"}
    wanted = [f"gradio=={case.gradio}"]
    python = environments.make(name, *wanted, python="3.10", date=dates[case.gradio[0]])
    app = starter.run(starter.app(case), app_file(case), python=python)
    up = app.wait_up()
    assert app.failures == []
    assert up.version == case.gradio
    for url in (up.local_url, up.share_url):
        assert url
        check_page(case, url)
        check_api(case, url)


@pytest.mark.browser
def test_the_page_of_the_share_link_is_not_blank_without_egress(starter: Starter, browser: Browser) -> None:
    app = starter.fork(starter.app({"app.py": REVERSE + "demo.launch(share=True)"}), "app.py")
    link = app.wait_up().share_url
    assert link
    context = browser.new_context()
    # What is not this machine's fails at once, as it does without egress.
    context.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
    page = context.new_page()
    try:
        page.goto(link, timeout=PAGE_MS)
        page.get_by_label("text").fill("abc", timeout=PAGE_MS)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_function(
            "[...document.querySelectorAll('textarea')].some(t => t.value === 'cba')", timeout=PAGE_MS
        )
    finally:
        context.close()


# Sharing is the owner's to say.


def test_no_link_when_the_owner_wants_none(starter: Starter) -> None:
    source = (
        REVERSE
        + """
from gradio import networking
_, _, link = demo.launch(share=True, prevent_thread_lock=True)
print("link:", link)
try:
    networking.setup_tunnel("127.0.0.1", demo.server_port, "token", None, None)
except RuntimeError as error:
    print("refused:", error)
demo.block_thread()
"""
    )
    app = starter.fork(starter.app({"app.py": source}, share=False), "app.py")
    up = app.wait_up()
    assert up.share_url is None
    app.wait_log("refused: no share link")
    assert "link: None" in app.log
    assert app.tunnels == {}


def test_the_author_gets_the_link_that_works(starter: Starter) -> None:
    source = REVERSE + "print('link:', demo.launch(prevent_thread_lock=True)[2])\ndemo.block_thread()\n"
    app = starter.fork(starter.app({"app.py": source}), "app.py")
    link = app.wait_up().share_url
    app.wait_log(f"link: {link}")


def test_a_tunnel_to_a_port_of_others_is_refused(starter: Starter) -> None:
    source = (
        REVERSE
        + """
from gradio import networking
try:
    networking.setup_tunnel("127.0.0.1", 22, "token", None, None)
except RuntimeError as error:
    print("refused:", error)
demo.launch()
"""
    )
    app = starter.fork(starter.app({"app.py": source}), "app.py")
    app.wait_up()
    assert "refused: no share link" in app.log
    assert app.failures == [("tunnel", "port 22 is not this run's")]


def test_no_link_is_no_reason_to_end(starter: Starter) -> None:
    app = starter.app({"app.py": REVERSE + "demo.launch(share=True)"})
    app.refuse_tunnels = True
    up = starter.fork(app, "app.py").wait_up()
    assert up.share_url is None
    assert httpx.get(up.local_url, trust_env=False).status_code == 200
    app.wait_log("Could not create share link")
    assert "opens public links itself, and has none now" in app.log
    assert "Missing file" not in app.log
    assert "Download this file" not in app.log


def test_a_port_that_the_space_left_a_moment_ago_is_bound_again(starter: Starter) -> None:
    check = "import socket\nwith socket.socket() as probe:\n    probe.bind(('0.0.0.0', 7860))\n"  # as Gradio 2 looks
    app = starter.app(
        {"app.py": check + SERVE.replace("HTTPServer(", "HTTPServer.allow_reuse_address = 0\nHTTPServer(")}
    )
    left_by_a_server(app.ports.base)
    up = starter.run(app, "app.py").wait_up()
    assert up.port == app.ports.base
    assert hello(up.local_url)


# Children that are given an environment, or lose it, stay in the family.

CHILDREN = {
    "empty": "import subprocess, sys; subprocess.run([sys.executable, 'serve.py'], env={})",
    "bytes": "import subprocess, sys; subprocess.run([sys.executable, 'serve.py'], env={b'X': b'1'})",
    "by position": "import subprocess, sys; subprocess.Popen([sys.executable, 'serve.py'], -1, None, None, None, None, "
    "None, True, False, None, {}).wait()",
    "bare python": "import subprocess; subprocess.run(['python', 'serve.py'], env={'X': '1'})",
    "asyncio": "import asyncio, sys\nasync def main():\n"
    "    await (await asyncio.create_subprocess_exec(sys.executable, 'serve.py', env={})).wait()\nasyncio.run(main())",
    "execve": "import os, sys; os.execve(sys.executable, ['python', 'serve.py'], {})",
    "execle": "import os, sys; os.execle(sys.executable, 'python', 'serve.py', {})",
    "spawnve": "import os, sys; os.spawnve(os.P_WAIT, sys.executable, ['python', 'serve.py'], {})",
    "posix_spawn": "import os, sys; os.waitpid(os.posix_spawn(sys.executable, ['python', 'serve.py'], {}), 0)",
    "environ cleared": "import os, sys; p = sys.executable; os.environ.clear(); os.system(p + ' serve.py')",
    "env -i": "import subprocess, sys; subprocess.run(['env', '-i', sys.executable, 'serve.py'])",
    "isolated": "import subprocess, sys; subprocess.run([sys.executable, '-I', 'serve.py'])",
    "PYTHONPATH": "import os; os.system('PYTHONPATH=. python -E serve.py')",
    "fork": "import os, runpy\nif os.fork() == 0:\n    runpy.run_path('serve.py')\nos.wait()",
    "nohup": "import os, time; os.system('nohup setsid python serve.py > /dev/null 2>&1 &'); time.sleep(60)",
    "exec": "exec(open('serve.py').read())",
}


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_stays_in_the_family(name: str, starter: Starter) -> None:
    app = starter.run(starter.app({"app.py": CHILDREN[name], "serve.py": SERVE}), "app.py")
    up = app.wait_up()
    assert hello(up.share_url)
    assert (up.version, up.title) == ("", "")


def test_a_child_keeps_what_it_set_and_gets_what_it_lost(starter: Starter) -> None:
    source = "import subprocess; subprocess.run(['env'], env={'X': '1', 'CUDA_VISIBLE_DEVICES': '7'})"
    app = starter.run(
        starter.app({"app.py": source}), "app.py", env={"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "secret"}
    )
    app.wait_log("SPACES_RUNNER_RUN=run-1")
    lines = app.log.split()
    assert {"X=1", "CUDA_VISIBLE_DEVICES=7"} <= set(lines)
    names = {line.partition("=")[0] for line in lines}
    ours = {"SPACES_RUNNER_RUN", "SPACES_RUNNER_SOCKET", "GRADIO_SERVER_PORT"}
    assert names == {"X", "CUDA_VISIBLE_DEVICES", "PATH", "HOME", *ours}


# Servers that are not Gradio.

SERVERS = {
    "flask": "import flask\napp = flask.Flask('app')\napp.route('/')(lambda: 'hello')\napp.run('0.0.0.0', 7860)",
    "flask with reloader": "import flask\napp = flask.Flask('app')\napp.route('/')(lambda: 'hello')\n"
    "app.run('0.0.0.0', 7860, debug=True)",
    "aiohttp": "from aiohttp import web\nasync def hello(request):\n    return web.Response(text='hello')\n"
    "app = web.Application()\napp.router.add_get('/', hello)\nweb.run_app(app, port=7860)",
    "asyncio on all addresses": "import asyncio\nasync def hello(reader, writer):\n    await reader.readline()\n"
    "    writer.write(b'HTTP/1.0 200 OK\\r\\n\\r\\nhello')\n    await writer.drain()\n    writer.close()\n"
    "async def main():\n    server = await asyncio.start_server(hello, None, 7860)\n    await server.serve_forever()\n"
    "asyncio.run(main())",
    "IPv6": HELLO + "import socket\nclass Server(HTTPServer):\n    address_family = socket.AF_INET6\n"
    "Server(('::', 7860), Hello).serve_forever()",
    "gunicorn": "import subprocess\nsubprocess.run(['gunicorn', '-b', '0.0.0.0:7860', 'wsgi:app'])",
    "PORT": "import os, uvicorn\nfrom wsgi import asgi\n"
    "uvicorn.run(asgi, host='0.0.0.0', port=int(os.environ['PORT']), loop='asyncio')",
    "uvicorn server": "import asyncio, uvicorn\nfrom wsgi import asgi\n"
    "asyncio.run(uvicorn.Server(uvicorn.Config(asgi, host='0.0.0.0', port=7860)).serve())",
    "uvicorn workers": "import os; os.system('uvicorn wsgi:asgi --host 0.0.0.0 --port 7860 --workers 2')",
}
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""


def open_to_others(port: int) -> bool:
    """Whether the port answers on another address than 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.2", port)) == 0


@pytest.mark.parametrize("name", SERVERS)
def test_whoever_binds_the_hubs_port_gets_ours(name: str, starter: Starter) -> None:
    app = starter.run(starter.app({"app.py": SERVERS[name], "wsgi.py": WSGI}), "app.py")
    up = app.wait_up()
    assert hello(up.local_url)
    assert hello(up.share_url)
    assert not open_to_others(up.port)


# It does no harm.


def test_it_does_nothing_outside_of_a_family(starter: Starter) -> None:
    code = "import sys, os, _spaces_runner as b; print(b.FAMILY, [f for f in sys.meta_path if 'Runner' in str(f)])"
    done = subprocess.run([starter.python, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "{} []"


def test_an_app_without_its_runner_goes_on_on_loopback(starter: Starter, tmp_path: Path) -> None:
    code = """
import _spaces_runner, socket
probe = socket.socket()
probe.bind(("127.0.0.1", 0))
_spaces_runner.SPACE_PORT = probe.getsockname()[1]
probe.close()
server = socket.socket()
server.bind(("0.0.0.0", _spaces_runner.SPACE_PORT))
print(server.getsockname() == ("127.0.0.1", _spaces_runner.SPACE_PORT))
"""
    env = {"SPACES_RUNNER_SOCKET": str(tmp_path / "nobody")}
    done = subprocess.run([starter.python, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "True"


def test_the_authors_mistake_stays_gradios_to_tell(starter: Starter) -> None:
    app = starter.fork(starter.app({"app.py": REVERSE + "demo.launch(enable_queue=True)"}), "app.py")
    app.wait_log("unexpected keyword argument 'enable_queue'")
    assert app.ups == []


def test_a_gradio_of_another_shape_starts_all_the_same(starter: Starter) -> None:
    files = {"gradio/__init__.py": "", "gradio/networking.py": "", "app.py": "import gradio.networking\n" + SERVE}
    app = starter.run(starter.app(files), "app.py")
    assert hello(app.wait_up().local_url)
    [(patch, error)] = app.failures
    assert (patch, "setup_tunnel" in error) == ("gradio.networking", True)


def test_sources_stay_readable(starter: Starter) -> None:
    source = """
import importlib, inspect, gradio.networking
assert "def setup_tunnel" in inspect.getsource(gradio.networking)
assert "share" in inspect.signature(gradio.Blocks.launch).parameters
importlib.reload(gradio.networking)
assert gradio.networking.setup_tunnel.__wrapped__
print("readable")
"""
    app = starter.run(starter.app({"app.py": source}), "app.py")
    app.wait_log("readable")


@pytest.mark.parametrize("version", ["3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_every_python_understands_it(version: str, starter: Starter, settings: Settings) -> None:
    found = [path for folder in settings.python_dirs if (path := Path(folder, f"python{version}")).exists()]
    if sys.version.startswith(version):
        found.append(Path(sys.executable))
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    start = f"import sys; sys.path.insert(0, {str(BOOTSTRAP.parent)!r}); import _spaces_runner\n"
    app = starter.run(starter.app({"app.py": start + SERVE}), "app.py", python=found[0])
    assert hello(app.wait_up().share_url)
