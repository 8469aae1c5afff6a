"""A base image of this machine's own files, in place of the official one of Python, which lies in a registry.

It is a small Debian of the packages that are installed here, with dpkg's word for them, so that `apt-get install` of
one of them is the real thing and has nothing to fetch. Its Python is in `/usr/local`, as the official one's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

# What an image of Debian has, and what a Dockerfile of ours may ask of it.
WANTED = ("apt", "ca-certificates", "catatonit", "git", "git-lfs", "libseccomp2")
LEFT_OUT = re.compile(r"^/usr/share/(doc|man|info|locale|lintian|bash-completion)(/|$)")  # as in slim images
MERGED = ("bin", "sbin", "lib", "lib64")
GENERATED = ("/etc/ssl/certs", "/etc/nsswitch.conf")  # by packages, when they were installed
USERS = {"passwd": "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n", "group": ""}  # besides those every Debian has
ROOMS = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "run": 0o755}
NOT_OF_PYTHON = re.compile(r"/(__pycache__|site-packages|test|idlelib|turtledemo|tkinter|config-[^/]*|_tkinter[^/]*)$")


class Unable(Exception):
    """Why no such image can be made here."""


def write(archive: Path) -> None:
    """The image's files, as a tar file; they want an `ldconfig` when they are unpacked. Raises Unable."""
    if Path(sys.base_prefix) == Path("/usr"):
        raise Unable("needs a Python of its own, apart from the system's: pyenv's, or uv's")
    names = _closure({*WANTED, *_of_libraries()})
    with tarfile.open(archive, "w") as tar:
        for name in MERGED:
            _link(tar, name, f"usr/{name}")
        for name, mode in ROOMS.items():
            room = tarfile.TarInfo(name)
            room.type, room.mode = tarfile.DIRTYPE, mode
            tar.addfile(room)
        for path in (*_files(names), *map(Path, GENERATED)):
            tar.add(path, str(path).lstrip("/"), recursive=str(path) in GENERATED)
        for name, more in USERS.items():
            _add(tar, f"etc/{name}", Path(f"/usr/share/base-passwd/{name}.master").read_bytes() + more.encode())
        _add(tar, "var/lib/dpkg/status", _dpkg("--status", *sorted(names)).encode())
        _add_python(tar)


def _closure(wanted: Iterable[str]) -> set[str]:
    """These packages, the essential ones, and what they depend on, as far as it is installed."""
    form = "${Package}\t${Essential}\t${Priority}\t${Pre-Depends}, ${Depends}\t${Provides}\n"
    rows = [line.split("\t") for line in _dpkg("--show", "--showformat", form).splitlines()]
    needs = {row[0]: row[3] for row in rows}
    providers = {name: row[0] for row in rows for name in re.findall(r"[a-z0-9][a-z0-9.+-]+", row[4])}
    missing = [name for name in wanted if name not in needs]
    if missing:
        raise Unable(f"needs packages that are not installed:  apt-get install {' '.join(sorted(missing))}")
    found: set[str] = set()
    left = [*wanted, *(row[0] for row in rows if row[1] == "yes" or row[2] == "required")]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            alternatives = re.split(r"[|,]", needs[name])
            named = (word.split()[0].partition(":")[0] for word in alternatives if word.strip())
            left += [known for word in named if (known := word if word in needs else providers.get(word))]
    return found


def _of_libraries() -> set[str]:
    """The packages of the libraries that this Python uses."""
    prefix = Path(sys.base_prefix)
    programs = [Path(sys.executable).resolve(), *prefix.glob("lib/python3.*/lib-dynload/*.so")]
    told = _run("ldd", *(str(program) for program in programs if "tkinter" not in program.name))
    libraries = {str(Path(path).resolve()) for path in re.findall(r"=> (/\S+)", told)}
    outside = sorted(path for path in libraries if not path.startswith(str(prefix)))
    return {line.partition(":")[0] for line in _dpkg("--search", *outside).splitlines()}


def _files(names: Iterable[str]) -> Iterator[Path]:
    """What dpkg says is theirs, where it really lies: `/bin` is a link to `/usr/bin`."""
    listed = {line for line in _dpkg("--listfiles", *sorted(names)).splitlines() if line.startswith("/")}
    paths = {Path(line).parent.resolve() / Path(line).name for line in listed if not LEFT_OUT.match(line)}
    apart = {Path("/"), *(Path("/") / name for name in (*MERGED, *ROOMS)), *map(Path, GENERATED)}
    yield from sorted(path for path in paths - apart if path.is_symlink() or path.exists())


def _add_python(tar: tarfile.TarFile) -> None:
    prefix = Path(sys.base_prefix)
    version = f"python3.{sys.version_info.minor}"

    def chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if NOT_OF_PYTHON.search(f"/{entry.name}") else entry

    tar.add(prefix / "bin" / version, f"usr/local/bin/{version}")
    tar.add(prefix / "lib" / version, f"usr/local/lib/{version}", filter=chosen)
    for library in prefix.glob(f"lib/lib{version}*.so.1.0"):
        tar.add(library, f"usr/local/lib/{library.name}")
    for name in ("python3", "python"):
        _link(tar, f"usr/local/bin/{name}", version)
    for package in prefix.glob(f"lib/{version}/site-packages/pip*"):
        tar.add(package, f"usr/local/lib/{version}/site-packages/{package.name}")
    _add(tar, "usr/local/bin/pip", b'#!/bin/sh\nexec python3 -m pip "$@"\n', 0o755)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    tar.addfile(link)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    file = tarfile.TarInfo(name)
    file.size, file.mode = len(content), mode
    tar.addfile(file, BytesIO(content))


def _dpkg(*arguments: str) -> str:
    if shutil.which("dpkg-query") is None:
        raise Unable("needs a Debian or Ubuntu, whose packages the base image is made of")
    return _run("dpkg-query", *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode not in (0, 1):  # 1: one of many was not found
        raise Unable(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout
