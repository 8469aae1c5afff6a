"""Runs git, hardened. Knows commands, their surroundings and what their failures mean; no Spaces.

What transfers much goes through GitPython. A question that a relaunch asks, too, does not: importing GitPython takes
longer than the answer.

Nothing that a repository or this machine holds can steer it: no system or global configuration, no hooks, no
templates, no file system monitor, no credential helper, no prompt, no protocol but https (and http on loopback).
The token is in the environment of the children that talk to the origin, scoped to the Hub's address, and nowhere else.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any, cast
from urllib.parse import urlsplit

from spaces_runner.checkout import room
from spaces_runner.errors import AccessDenied, CheckoutError, NetworkFailed, RevisionNotFound, SpaceNotFound, UnsafeTree
from spaces_runner.settings import Settings

# Mistakes that old tools wrote into commits and trees and that harm nobody; fsck refuses everything else.
_HARMLESS = (
    *("badDate", "badDateOverflow", "badEmail", "badFilemode", "badName", "badTimezone", "missingEmail"),
    *("missingNameBeforeEmail", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "multipleAuthors", "nulInCommit"),
    *("zeroPaddedDate", "zeroPaddedFilemode", "gitmodulesMissing", "gitmodulesParse", "gitmodulesLarge"),
)
_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "false"),
    ("core.attributesFile", "/dev/null"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "initial"),
    ("maintenance.auto", "false"),
    ("protocol.version", "2"),
    ("safe.bareRepository", "explicit"),
    ("submodule.recurse", "false"),
    ("transfer.fsckObjects", "true"),
    ("lfs.basictransfersonly", "true"),
    ("lfs.fetchexclude", ""),
    ("lfs.fetchinclude", ""),
    ("lfs.locksverify", "false"),
    ("lfs.skipdownloaderrors", "false"),
    ("lfs.transfer.maxretrydelay", "2"),
    *((f"fetch.fsck.{name}", "ignore") for name in _HARMLESS),
)
_ANSWER_S = 120.0  # the longest that a question without a transfer may take
_TICK_S = 0.1
_LINES = 40  # the last lines kept of what a command said
_NOT_LINES = re.compile(r"^(remote: )?(Enumerating|Counting|Compressing|Receiving|Resolving|Total)\b")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a repository is fetched from. `url` is built from validated parts and holds no credentials."""

    name: str  # for people
    url: str
    on_hub: bool

    @property
    def lfs_url(self) -> str:
        """The LFS server of the origin, as the Git LFS API places it. A repository's `.lfsconfig` has no say."""
        return f"{self.url.removesuffix('.git')}.git/info/lfs"

    @property
    def protocols(self) -> str:
        """What git may speak: https, and http only with this machine itself."""
        parts = urlsplit(self.url)
        return "http:https" if parts.scheme == "http" and parts.hostname in _LOOPBACK else "https"


class GitCommand:
    """git on the bare repository `git_dir`, which need not be there yet."""

    def __init__(self, settings: Settings, origin: Origin, git_dir: Path) -> None:
        self._settings = settings
        self._origin = origin
        self._folder = git_dir.parent
        self._surroundings = _surroundings(settings, origin, git_dir)

    def open(self, *arguments: str) -> Popen[bytes]:
        """Start a command that stays on this machine, with pipes at both ends. Raises CheckoutError."""
        try:
            return Popen(
                ["git", *arguments],
                cwd=self._folder,
                env=self._environment({}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError as error:
            raise _not_installed() from error

    def ask(self, *arguments: str) -> bytes:
        """Standard output of a command that stays on this machine. Raises CheckoutError."""
        status, out, err = self._execute(arguments, {})
        if status:
            raise CheckoutError("git could not read its copy of the Space.", hint=_AGAIN, lines=self._lines(err))
        return out

    def ask_origin(self, *arguments: str) -> str:
        """Standard output of a command that talks to the origin but transfers little. Raises CheckoutError.

        In protocol 0, which lists all references in one round trip; the newer ones take two.
        """
        status, out, err = self._execute(arguments, self._remote(("protocol.version", "0")))
        if status:
            raise self.failure(self._lines(err))
        return out.decode(errors="replace")

    def transfer(self, *arguments: str, line: Callable[[str], None], tick: Callable[[], None]) -> tuple[int, list[str]]:
        """Run a command that may take long. `line` gets each line it says, `tick` is called ten times a second.

        Returns its exit status and its last lines that are no progress, free of secrets.
        """
        from git.cmd import Git

        git = Git(str(self._folder))
        ours = {**self._surroundings, **self._remote()}
        unset = [f"--unset={name}" for name in os.environ if _steers_git(name) and name not in ours]
        process = git.execute(
            [*(("env", *unset) if unset else ()), "git", *arguments],  # GitPython adds variables, and takes none away
            as_process=True,
            with_stdout=False,
            universal_newlines=True,
            env=ours,
            errors="replace",
        )
        kept: deque[str] = deque(maxlen=_LINES)

        def drain() -> None:
            for text in process.stderr or ():
                line(cast(str, text).rstrip("\n"))
                if cast(str, text).strip() and not _NOT_LINES.match(cast(str, text)):
                    kept.append(cast(str, text).rstrip("\n"))

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        try:
            status = _wait(process.proc, tick)
            reader.join(timeout=_ANSWER_S)
        finally:
            process._terminate()  # GitPython's own way to end it and close its pipes
        return status, [self.scrub(text) for text in kept]

    def failure(self, lines: tuple[str, ...]) -> CheckoutError:
        """The error that the `lines` of a failed command mean."""
        return explain(lines, self._origin, bool(self._settings.hf_token))

    def scrub(self, text: str) -> str:
        """`text` without the token, in the two forms that git is given it."""
        if self._settings.hf_token:
            for secret in (self._settings.hf_token, _basic(self._settings.hf_token)):
                text = text.replace(secret, "***")
        return text

    def _execute(self, arguments: tuple[str, ...], env: dict[str, str]) -> tuple[int, bytes, str]:
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self._folder,
                env=self._environment(env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ANSWER_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise _not_installed() from error
        except TimeoutExpired:
            return 1, b"", f"Timeout: git {arguments[0]} had no answer for {_ANSWER_S:g} s"
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        """As GitPython makes it: proxies and certificates come from the process, messages are in English."""
        kept = {name: value for name, value in os.environ.items() if not _steers_git(name)}
        return {**kept, "LANGUAGE": "C", "LC_ALL": "C", **self._surroundings, **env}

    def _lines(self, err: str) -> tuple[str, ...]:
        return tuple(self.scrub(line) for line in err.splitlines()[-_LINES:] if line.strip())

    def _remote(self, *more: tuple[str, str]) -> dict[str, str]:
        """The configuration for a talk with the origin; with the token where the origin is the Hub."""
        stall = str(self._settings.network_stall_s)
        pairs = [
            *_CONFIG,
            ("remote.origin.url", self._origin.url),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", stall),
            ("lfs.url", self._origin.lfs_url),
            ("lfs.activitytimeout", stall),
            ("lfs.dialtimeout", stall),
            *more,
        ]
        if self._origin.on_hub and self._settings.hf_token:
            key = f"http.{self._settings.hf_endpoint}/.extraHeader"
            pairs.append((key, f"Authorization: Basic {_basic(self._settings.hf_token)}"))
        return _config(pairs)


def _steers_git(name: str) -> bool:
    """Whether a variable of the owner's would tell git where to work, and how; certificates are as the machine's."""
    return name.startswith("GIT_") and not name.startswith(("GIT_SSL_CA", "GIT_PROXY_SSL_CA"))


def _not_installed() -> CheckoutError:
    return CheckoutError("git is not installed.", hint="Type: sudo apt-get install git git-lfs")


_AGAIN = "Start it again. If that does not help, remove the Space's copy with: spaces-runner prune"


def _wait(process: Popen[Any] | None, tick: Callable[[], None]) -> int:
    """Wait for a process, ticking. A stalled transfer is ended by git's own limits, so there is no deadline here."""
    while process is not None:
        try:
            return process.wait(timeout=_TICK_S)
        except TimeoutExpired:
            tick()
    return 1


def _basic(token: str) -> str:
    """The Hub takes a token as the password of any user, for git and for LFS alike."""
    return base64.b64encode(f"user:{token}".encode()).decode()


def _config(pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> dict[str, str]:
    """Configuration as environment variables: in no argument, which every user of a machine can read."""
    settings = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for index, (key, value) in enumerate(pairs):
        settings |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return settings


def _surroundings(settings: Settings, origin: Origin, git_dir: Path) -> dict[str, str]:
    home = str(git_dir.parent)
    variables = {
        "PATH": settings.path,
        "HOME": home,  # no .netrc, no .gitconfig
        "XDG_CONFIG_HOME": home,
        "GIT_DIR": str(git_dir),
        "GIT_OBJECT_DIRECTORY": str(git_dir / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_ALLOW_PROTOCOL": origin.protocols,
        "GIT_ASKPASS": "",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_TRACE": "0",
        "GIT_TRACE_CURL": "0",
        "GIT_TRACE_PACKET": "0",
        **_config(_CONFIG),
    }
    if settings.ca_file:
        variables["GIT_SSL_CAINFO"] = settings.ca_file
    return variables


def explain(lines: tuple[str, ...], origin: Origin, has_token: bool) -> CheckoutError:
    """What the lines of a failed git command mean, for a person."""
    text = "\n".join(lines)
    for pattern, make in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            return make(origin, has_token, lines)
    return CheckoutError(f"git could not fetch {origin.name}.", hint=_AGAIN, lines=lines)


def _denied(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    if has_token and origin.on_hub:
        message = f"Your Hub token does not open {origin.name}."
        return AccessDenied(message, hint="Use a token of an account that may read it: hf auth login", lines=lines)
    if origin.on_hub:
        message = f"There is no Space {origin.name}, or it is private."
        return AccessDenied(message, hint="Check the name. If it is private, log in: hf auth login", lines=lines)
    hint = "Only repositories that anyone may read can be fetched from there."
    return AccessDenied(f"{origin.name} does not open without a login.", hint=hint, lines=lines)


def _missing(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    if origin.on_hub and not has_token:
        return _denied(origin, has_token, lines)
    hint = "Check the owner and the name; a private Space needs a token that may read it."
    return SpaceNotFound(
        f"There is no {'Space' if origin.on_hub else 'repository'} {origin.name}.", hint=hint, lines=lines
    )


def _no_revision(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    hint = "Give a branch, a tag, refs/pr/N, or a commit with all its 40 digits."
    return RevisionNotFound(f"{origin.name} has no such commit.", hint=hint, lines=lines)


def _unsafe(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    hint = "Do not run it: a repository like this is damaged or made to harm."
    return UnsafeTree(f"{origin.name} holds objects that git refuses.", hint=hint, lines=lines)


def _no_protocol(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    hint = "Set HF_ENDPOINT to an https address."
    return CheckoutError("Spaces are fetched over https only.", hint=hint, lines=lines)


def _too_many(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    hint = "Wait five minutes and start it again" + ("." if has_token else ", or log in first: hf auth login")
    return NetworkFailed("The server is asked too often from this address (429).", hint=hint, lines=lines)


def _unreachable(origin: Origin, has_token: bool, lines: tuple[str, ...]) -> CheckoutError:
    host = urlsplit(origin.url).netloc
    hint = f"Check that this machine reaches {host}, then start it again: what had arrived complete is kept."
    return NetworkFailed(f"The connection to {host} failed or was cut.", hint=hint, lines=lines)


_Meaning = Callable[[Origin, bool, tuple[str, ...]], CheckoutError]
# In this order: a line about a status code stands beside general ones about a connection.
_MEANINGS: tuple[tuple[str, _Meaning], ...] = (
    (room.FULL, lambda origin, has_token, lines: room.full(lines)),
    (r"returned error: 429|Too Many Requests", _too_many),
    (r"could not read (Username|Password)|Authentication (failed|required)|returned error: 40[13]", _denied),
    (r"repository .* not found|Repository not found|returned error: 404", _missing),
    (r"not our ref|couldn't find remote ref|unadvertised object", _no_revision),
    (r"transport '.*' not allowed|protocol .* not supported", _no_protocol),
    (r"fsck error|error in (object|tree|commit|tag)|missingSpace|hasDot|contains '\.git'", _unsafe),
    (
        r"unable to access|Could not resolve|Failed to connect|timed out|Timeout|early EOF|RPC failed|too slow|hung up"
        r"|Connection (reset|refused)|returned error: 5\d\d|unexpected disconnect|protocol error"
        r"|index-pack|bytes of body are still expected",
        _unreachable,
    ),
)
