"""Tries everything that a Space must not be able to do, and serves what came of it as JSON."""

import contextlib
import ctypes
import json
import os
import resource
import socket
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PTRACE_SEIZE, PR_GET_NO_NEW_PRIVS = 0x4206, 39
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
X86 = os.uname().machine == "x86_64"
CALLS = {"mount": 165, "bpf": 321, "keyctl": 250, "perf": 298, "uring": 425} if X86 else {
    "mount": 40, "bpf": 280, "keyctl": 219, "perf": 241, "uring": 425
}  # fmt: skip
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if libc.syscall(CALLS[name], *arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def reach(family, address, kind=socket.SOCK_STREAM):
    with contextlib.closing(socket.socket(family, kind)) as one:
        one.settimeout(3)
        one.connect(address)
        if kind == socket.SOCK_DGRAM:
            one.send(b"probe")


def through_link(target):
    link = Path("link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return link.read_bytes()


def planted(folder):
    path = Path(folder, f"planted-{os.getpid()}")
    path.write_text("planted")
    path.unlink()


def hard_link(target):
    os.link(target, "hard")


def inherited():
    """A token or a password of the owner's in what it was started with."""
    if not any("owner" in value for value in os.environ.values()):
        raise PermissionError("nothing of the owner's is here")


def descriptors():
    """Something open that is not its own: more than standard streams, and what this program opened."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").endswith((".db", ".db-wal", "secret")):
                return
    raise PermissionError("nothing")


def unlimited():
    """As many processes as it likes."""
    resource.setrlimit(resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def apart(probe):
    """In a process of its own: a new namespace would change what the probes after it find."""
    child = os.fork()
    if child == 0:
        os._exit(0 if outcome(probe) else 1)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise PermissionError("refused")


def privileged():
    if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1:
        raise PermissionError("no new privileges")


def probes(told):
    """By name. Each that returns got what it wanted."""
    runner, tcp, udp = told["runner"], ("127.0.0.1", told["tcp"]), ("127.0.0.1", told["udp"])
    return {
        "owner file": lambda: Path(told["owner"]).read_bytes(),
        "owner file through a link": lambda: through_link(told["owner"]),
        "owner file by hard link": lambda: hard_link(told["owner"]),
        "runner database": lambda: Path(told["database"]).read_bytes(),
        "secrets of Spaces": lambda: os.listdir(told["secrets"]),
        "page token": lambda: Path(told["token"]).read_bytes(),
        "neighbour file": lambda: Path(told["neighbour"]).read_bytes(),
        "neighbour folder": lambda: os.listdir(Path(told["neighbour"]).parent),
        "own log": lambda: os.listdir(told["logs"]),
        "shared packages": lambda: planted(told["environment"]),
        "state directory": lambda: planted(told["state"]),
        "owner home": lambda: os.listdir(told["home"]),
        "shadow": lambda: Path("/etc/shadow").read_bytes(),
        "environ of the runner": lambda: Path(f"/proc/{runner}/environ").read_bytes(),
        "memory of the runner": lambda: Path(f"/proc/{runner}/mem").open("rb").close(),
        "trace the runner": lambda: checked(libc.ptrace(PTRACE_SEIZE, runner, None, None)),
        "signal the runner": lambda: os.kill(runner, 0),
        "inherit a token": inherited,
        "inherit a descriptor": descriptors,
        "become root": lambda: os.setuid(0),
        "gain privileges": privileged,
        "new user namespace": lambda: apart(lambda: checked(libc.unshare(CLONE_NEWUSER))),
        "new network namespace": lambda: apart(lambda: checked(libc.unshare(CLONE_NEWNET))),
        "mount": lambda: call("mount", b"none", b"/", b"tmpfs", 0, None),
        "bpf": lambda: call("bpf", 0, None, 0),
        "keyring": lambda: call("keyctl", 0, -3, 1),
        "perf": lambda: call("perf", None, 0, -1, -1, 0),
        "io_uring": lambda: call("uring", 1, ctypes.create_string_buffer(120)),
        "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "abstract socket of the runner": lambda: reach(socket.AF_UNIX, "\0" + told["abstract"]),
        "path socket of the owner": lambda: reach(socket.AF_UNIX, told["path_socket"]),
        "loopback port of another": lambda: reach(socket.AF_INET, tcp),
        "loopback datagrams": lambda: reach(socket.AF_INET, udp, socket.SOCK_DGRAM),
        "any number of processes": unlimited,
        "temporary files of others": lambda: Path(told["temporary"]).read_bytes(),
        # What it may: a sandbox in which nothing works keeps nobody.
        "own data": lambda: planted(os.environ["HOME"]),
        "own temporary files": lambda: planted(tempfile.gettempdir()),
        "shared memory": lambda: planted("/dev/shm"),
        "system files": lambda: Path("/etc/passwd").read_bytes(),
        "own packages": lambda: planted(os.environ["VIRTUAL_ENV"]),
    }


def outcome(probe):
    try:
        probe()
    except (OSError, ValueError):
        return False
    return True


found = {name: outcome(probe) for name, probe in probes(json.loads(sys.argv[1])).items()}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
