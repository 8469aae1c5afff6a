"""Makes every web app of a Space's process family answer where its runner wants it, and share as its owner said.

Imported by a .pth file of the environment in every Python of the family, before the app's own code. Standard library
only, for Python 3.7 and newer. Inert where no process of the line of parents has SPACES_RUNNER_SOCKET.

It speaks to the Unix socket of that name, one JSON line each way, a connection a question:

    {"ask": "launch", "asked": 7860, "running": false}  what to force on Gradio's `launch()`, by parameter name
    {"ask": "port", "asked": 7860}     {"server_name": "127.0.0.1", "server_port": 41000}
    {"ask": "tunnel", "port": 41000}   {"url": "https://..."}; without "url" there is no link
    {"ask": "up", "local_url": ..., "version": ..., "title": ...}   no answer
    {"ask": "script", "lines": [...]}   how Streamlit's script ended, without lines where all was well; no answer
    {"ask": "exported", "name": "demo"}   launched for a script that only makes it; no answer
    {"ask": "failed", "patch": ..., "error": ...}                   no answer
"""

import os
import sys

SPACE_PORT = 7860  # the one port the Hub serves; any other is a back end of the author's own
SOCKET = "SPACES_RUNNER_SOCKET"
# What a child keeps that was given an environment of its own: what ties it to this run, and what this machine needs.
# Without PATH `pip` would be the system's; without HOME it would not start, since a Space's user is in no passwd file.
KEPT = (
    SOCKET,
    "SPACES_RUNNER_RUN",
    "GRADIO_SERVER_PORT",
    "PATH",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_FIND_LINKS",
)
OURS = set()  # ports that this process was given
PATIENCE_S = 75.0  # longer than a share server may take
LONGEST = 500  # characters of a title, a version or an error: the runner refuses long lines


def read_family():
    """KEPT, all of one process: this one, or its nearest ancestor that is of a family. {} outside of one."""
    pid, found = os.getpid(), dict(os.environb)
    while os.fsencode(SOCKET) not in found:
        try:
            with open("/proc/%d/stat" % pid, "rb") as stat:  # noqa: PTH123, UP031  # pathlib and f-strings cost a start
                pid = int(stat.read().rpartition(b")")[2].split()[1])
            with open("/proc/%d/environ" % pid, "rb") as environ:  # noqa: PTH123, UP031  # as above
                found = dict(variable.partition(b"=")[::2] for variable in environ.read().split(b"\0"))
        except OSError:  # past the first process, or another user's
            return {}
    return {name: os.fsdecode(found[os.fsencode(name)]) for name in KEPT if os.fsencode(name) in found}


def is_spaces(port):
    """Whether `port` is the one that the Hub serves, by its number there or here (as PORT and GRADIO_SERVER_PORT)."""
    return port == SPACE_PORT or str(port) == FAMILY.get("GRADIO_SERVER_PORT")


def joined(env):
    """`env` for a child that stays in the family. What it sets itself stays; its names may be bytes."""
    given = {os.fsdecode(name) for name in env}
    return {**env, **{name: value for name, value in FAMILY.items() if name not in given}}


def ask(what, **fields):
    """The runner's answer. Where it is gone the app goes on, on loopback and without a link."""
    import _socket  # `socket` may be the app's own by now (gevent, PySocks)
    import json

    link = _socket.socket(_socket.AF_UNIX)
    try:
        link.settimeout(PATIENCE_S)
        link.connect(FAMILY[SOCKET])
        link.sendall(json.dumps(dict(fields, ask=what)).encode() + b"\n")
        if what in ("up", "script", "exported", "failed"):
            return {}
        answer = b""
        while not answer.endswith(b"\n"):
            part = link.recv(4096)
            if not part:
                break
            answer += part
        told = dict(json.loads(answer.decode()))
    except (OSError, ValueError, TypeError):
        return {"server_name": "127.0.0.1"}
    else:
        OURS.add(told.get("server_port"))
        return told
    finally:
        link.close()


def replaces(owner, name):
    """Puts the decorated function in the place of `owner.name`, which it gets as its first argument."""
    import functools

    original = getattr(owner, name)

    def put(function):
        @functools.wraps(original)
        def patched(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, patched)

    return put


# Gradio: what it launches with, and when it is up.

LAUNCHING = []  # the apps inside `launch` at this moment


def patch_launch(module):
    """The class that defines `launch`: Blocks from 3.0 on, Launchable from 2.8, Interface before."""
    for cls in [vars(module).get(name) for name in ("Launchable", "Blocks", "Interface")]:
        mine = cls is not None and cls.__module__ == module.__name__
        if mine and not any(hasattr(base, "launch") for base in cls.__bases__):
            force_launch(cls)
            report_before_blocking(cls)
    if hasattr(module, "BINARY_PATH"):  # of the tunnel client, for which Gradio would have people look: we need none
        module.BINARY_PATH = __file__
    import _spaces_runner_exported

    _spaces_runner_exported.arm()


def force_launch(cls):
    import inspect

    @replaces(cls, "launch")
    def launch(launch, self, *args, **kwargs):
        signature = inspect.signature(launch)
        try:
            call = signature.bind(self, *args, **kwargs)
        except TypeError:
            return launch(self, *args, **kwargs)  # the author's mistake, in Gradio's own words
        asked = call.arguments.get("server_port")
        running = bool(getattr(self, "is_running", False))
        for name, value in ask("launch", asked=asked if isinstance(asked, int) else None, running=running).items():
            if name in signature.parameters:
                call.arguments[name] = value
            elif hasattr(self, name):  # before 2.8 the port was the Interface's
                setattr(self, name, value)
        LAUNCHING.append(self)
        try:
            result = launch(*call.args, **call.kwargs)
        finally:
            LAUNCHING.remove(self)
        report(self)
        return result


def report_before_blocking(cls):
    """A `launch()` at the end of a script does not return; this is what it waits in."""
    name = "block_thread" if hasattr(cls, "block_thread") else "run_until_interrupted"

    @replaces(cls, name)
    def block_thread(block, self, *args, **kwargs):
        report(self)
        return block(self, *args, **kwargs)


def report(app):
    """Say where `app` answers, once for each address."""
    url = getattr(app, "local_url", None)
    if not url:
        return
    # From here on the attribute only picks the page, and the shared one loads its scripts from a CDN: without egress
    # that page is blank, through either link.
    app.share = False
    if vars(app).get("_reported_url") == url:
        return
    app._reported_url = url
    version = getattr(sys.modules.get("gradio"), "__version__", "")
    title = getattr(app, "title", None) or ""
    ask("up", local_url=str(url), version=str(version)[:LONGEST], title=str(title)[:LONGEST])


def patch_tunnel(module):
    @replaces(module, "setup_tunnel")
    def setup_tunnel(_, *args, **kwargs):
        """The runner opens the link: no tunnel client, certificate or key comes near the Space."""
        port = next(value for value in [*args, *kwargs.values()] if type(value) is int)
        url = ask("tunnel", port=port).get("url")
        if url is None:
            sys.stderr.write("Spaces Runner opens public links itself, and has none now; it goes on trying. ")
            sys.stderr.write("The local link works.\n")
            raise RuntimeError("no share link")  # the one error that every Gradio catches
        for app in LAUNCHING:
            if hasattr(app, "share_server_protocol"):  # else a newer Gradio writes https over the link's own scheme
                app.share_server_protocol = url.partition(":")[0]
        return url


def patch_streamlit(module):
    import _spaces_runner_streamlit

    _spaces_runner_streamlit.patch(module)


# Everything else that serves: whoever binds the Hub's port gets ours.


def patch_uvicorn(module):  # uvloop binds in C, out of the sight of patch_socket
    @replaces(module.Config, "__init__")
    def init(init, self, *args, **kwargs):
        init(self, *args, **kwargs)
        if is_spaces(self.port) and self.uds is None and self.fd is None:
            answer = ask("port", asked=SPACE_PORT)
            self.host, self.port = answer["server_name"], answer.get("server_port", self.port)


def patch_socket(module):  # Flask, Streamlit, aiohttp, gunicorn, http.server ...
    @replaces(module.socket, "bind")
    def bind(bind, self, address):
        inet = self.family in (module.AF_INET, module.AF_INET6) and isinstance(address, tuple)
        if inet and is_spaces(address[1]):
            answer = ask("port", asked=SPACE_PORT)
            address = (loopback(module, self, answer), answer.get("server_port", address[1]))
        if inet and address[1] in OURS:  # this Space may have had it until a moment ago; an old Gradio does not ask
            self.setsockopt(module.SOL_SOCKET, module.SO_REUSEADDR, 1)
        return bind(self, address)


def loopback(module, sock, answer):
    if sock.family == module.AF_INET:
        return answer["server_name"]
    only_ipv6 = sock.getsockopt(module.IPPROTO_IPV6, module.IPV6_V6ONLY)  # asyncio binds IPv4 beside it
    return "::1" if only_ipv6 else "::ffff:" + answer["server_name"]


# Children that are given an environment of their own stay in the family.


def patch_subprocess(module):
    @replaces(module.Popen, "__init__")
    def init(init, self, *args, **kwargs):
        if kwargs.get("env") is not None:
            kwargs["env"] = joined(kwargs["env"])
        elif len(args) > 10 and args[10] is not None:  # given by position
            args = (*args[:10], joined(args[10]), *args[11:])
        return init(self, *args, **kwargs)


def patch_os(module):
    for name in ("execve", "posix_spawn", "posix_spawnp"):  # the other `exec...e` and `spawn...e` end in execve
        if hasattr(module, name):
            keep_family(module, name)


def keep_family(module, name):
    @replaces(module, name)
    def run(run, *args, **kwargs):
        if kwargs.get("env") is not None:
            kwargs["env"] = joined(kwargs["env"])
        elif len(args) > 2 and args[2] is not None:
            args = (*args[:2], joined(args[2]), *args[3:])
        return run(*args, **kwargs)


PATCHES = {
    "gradio.blocks": patch_launch,
    "gradio.launchable": patch_launch,
    "gradio.interface": patch_launch,
    "gradio.networking": patch_tunnel,
    "streamlit.script_runner": patch_streamlit,  # before 1.9
    "streamlit.scriptrunner.script_runner": patch_streamlit,  # before 1.12
    "streamlit.runtime.scriptrunner.script_runner": patch_streamlit,
    "streamlit.runtime.scriptrunner.exec_code": patch_streamlit,
    "streamlit.runtime.fragment": patch_streamlit,
    "uvicorn.config": patch_uvicorn,
    "socket": patch_socket,
    "subprocess": patch_subprocess,
    "os": patch_os,
}


class SpacesRunnerFinder:
    """Lets the other finders find a module of PATCHES, and patches it once its own code has run."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        for finder in sys.meta_path if name in PATCHES else ():
            find = getattr(finder, "find_spec", None)  # that of six before 1.16 has none
            spec = find(name, path, target) if find and finder is not cls else None
            if spec is not None:
                # On the loader itself, not around it: getsource, resources and reload keep working. Loaders that are
                # classes serve every module of their kind.
                if hasattr(spec.loader, "exec_module") and not isinstance(spec.loader, type):
                    spec.loader.exec_module = then_patch(spec.loader.exec_module)
                return spec
        return None


def then_patch(run):
    def exec_module(module):
        run(module)
        if module.__name__ in PATCHES:  # the loader of a zip file serves more than one module
            patch(module)

    return exec_module


def patch(module):
    try:
        PATCHES[module.__name__](module)
    except Exception as error:  # noqa: BLE001  # a Gradio of another shape starts all the same, and the run says so
        ask("failed", patch=module.__name__, error=repr(error)[:LONGEST])


def start():
    if not FAMILY or SpacesRunnerFinder.__name__ in [getattr(finder, "__name__", "") for finder in sys.meta_path]:
        return
    os.environ.update(joined(os.environ))
    sys.meta_path.insert(0, SpacesRunnerFinder)
    for loaded in [sys.modules[name] for name in PATCHES if name in sys.modules]:
        patch(loaded)


FAMILY = read_family()
start()
