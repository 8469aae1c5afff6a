"""The repositories of the stand-in Hub: bare ones, written with git's own plumbing, LFS pointers where asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

GIT_ENV = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Test"), ("EMAIL", "test@example.com"), ("DATE", "2023-05-04T03:02:01+00:00"))
    },
}


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link as a file of a commit."""

    target: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """A gitlink as a file of a commit."""

    commit: str = "1" * 40


@dataclass(frozen=True, slots=True)
class Executable:
    content: str | bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Content that goes into git as it is, also where a pattern would make it an LFS object."""

    content: str | bytes


File = str | bytes | Symlink | Submodule | Executable | Raw
Contents = Mapping[str, File]


def need_git_lfs() -> None:
    """Leave out a test whose Space has LFS files, where nothing on the machine can fetch them."""
    found = subprocess.run(["git", "lfs", "version"], env=GIT_ENV, capture_output=True, check=False, timeout=30)
    if found.returncode != 0:
        pytest.skip("no git-lfs on this machine: apt-get install git-lfs")


def pointer(content: bytes) -> bytes:
    """The LFS pointer of `content`."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    path: Path
    lfs_dir: Path
    lfs: tuple[str, ...]
    private: bool

    @classmethod
    def create(cls, path: Path, lfs_dir: Path, *, lfs: tuple[str, ...], private: bool) -> Repository:
        """An empty bare repository, in place of whatever was there."""
        shutil.rmtree(path, ignore_errors=True)
        lfs_dir.mkdir(exist_ok=True)
        repository = cls(path=path, lfs_dir=lfs_dir, lfs=lfs, private=private)
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path)],
            env=GIT_ENV,
            check=True,
        )
        repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
        return repository

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", *arguments], env=GIT_ENV, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def commit(self, files: Contents, branch: str) -> str:
        """One more commit on `branch`, with `files` added or changed. Returns it."""
        reference = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        lines = [f"commit {reference}\ncommitter Test <test@example.com> {self._date()} +0200\ndata 4\ntest\n".encode()]
        if parent := self.resolve(branch):
            lines.append(f"from {parent}\n".encode())
        attributes = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in self.lfs)
        if attributes and ".gitattributes" not in files:
            files = {".gitattributes": attributes, **files}
        for path, content in files.items():
            lines.append(self._entry(path, content))
        self.git("fast-import", "--quiet", "--force", stdin=b"".join(lines))
        sha = self.resolve(branch)
        assert sha
        return sha

    def commit_tree(self, entries: list[tuple[str, str, bytes]], branch: str = "main") -> str:
        """A commit of a tree that git's own commands would not write: (mode, name, blob or link or raw tree)."""
        body = b""
        for mode, name, content in entries:
            kind = "tree" if mode.lstrip("0") == "40000" else "blob"
            sha = self.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=content).decode().strip()
            body += f"{mode} {name}\0".encode("utf-8", "surrogateescape") + bytes.fromhex(sha)
        tree = self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=body).decode().strip()
        sha = self.git("commit-tree", tree, "-m", "test").decode().strip()
        self.git("update-ref", f"refs/heads/{branch}", sha)
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a tag, `refs/pr/N` or a (short) commit names."""
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
            env=GIT_ENV,
            capture_output=True,
            check=False,
        )
        return done.stdout.decode().strip() or None

    def files(self, sha: str) -> list[str]:
        return self.git("ls-tree", "-r", "-z", "--name-only", sha).decode().rstrip("\0").split("\0")

    def read(self, sha: str, path: str) -> bytes | None:
        """A file's content, an LFS object's in place of its pointer; None where there is none."""
        if path not in self.files(sha):
            return None
        content = self.git("cat-file", "blob", f"{sha}:{path}")
        if content.startswith(b"version https://git-lfs"):
            return (self.lfs_dir / content.split(b"sha256:")[1][:64].decode()).read_bytes()
        return content

    def _date(self) -> int:
        """Seconds since the epoch: an hour later with every commit, so that no two are alike."""
        count = self.git("rev-list", "--all", "--count").decode().strip()
        return 1683169321 + 3600 * int(count or 0)

    def _entry(self, path: str, content: File) -> bytes:
        if isinstance(content, Submodule):
            return f"M 160000 {content.commit} {path}\n".encode()
        mode, data = "100644", content
        if isinstance(data, Symlink):
            mode, data = "120000", data.target
        elif isinstance(data, Executable):
            mode, data = "100755", data.content
        raw = data.content if isinstance(data, Raw) else data
        blob = raw.encode() if isinstance(raw, str) else raw
        if not isinstance(content, Raw | Symlink) and any(fnmatch(path, pattern) for pattern in self.lfs):
            (self.lfs_dir / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
            blob = pointer(blob)
        return f"M {mode} inline {path}\ndata {len(blob)}\n".encode() + blob + b"\n"
