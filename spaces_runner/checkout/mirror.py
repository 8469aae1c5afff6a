"""The runner's own bare copy of a repository: which commit a revision is, fetching it, reading it.

Knows git; does not know Spaces' files or LFS. Only the runner writes a mirror, and git is run nowhere else: a tree
that a Space can write may hold hooks and filters.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from spaces_runner.checkout import listing
from spaces_runner.checkout.git_command import GitCommand, Origin
from spaces_runner.checkout.objects import Objects
from spaces_runner.checkout.tree import Entry
from spaces_runner.errors import CheckoutError, RevisionNotFound
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind, SpaceRef

# Told of objects received: how many, of how many (None: not known yet).
ObjectsProgress = Callable[[int, int | None], None]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
_RECEIVING = re.compile(r"Receiving objects:\s+\d+% \((\d+)/(\d+)\)")
_COMMITTER = re.compile(rb"^committer .*> (\d+) ([+-])(\d\d)(\d\d)$", re.MULTILINE)
_LOCK_S = (
    6 * 3600.0
)  # how long another launch may take to fetch the same repository; the kernel frees a dead one's lock
_COMMITS = "refs/commits"  # one reference per fetched commit: it is here, complete, and the next fetch builds on it
_REFUSED = "unadvertised object"
_UNFINISHED = ".tmp-"  # no mirror's name begins with a dot


def origin_of(ref: SpaceRef, settings: Settings) -> Origin:
    """Where a HUB or GIT reference is fetched from."""
    if ref.kind is RefKind.HUB:
        return Origin(name=ref.source, url=f"{settings.hf_endpoint}/spaces/{ref.source}", on_hub=True)
    return Origin(name=ref.source, url=ref.source, on_hub=False)


class Mirror:
    """The bare copy of one repository under `settings.mirrors_dir`.

    A context manager: it keeps a helper process, and from `fetch` to its end nobody discards the mirror.
    """

    def __init__(self, settings: Settings, ref: SpaceRef) -> None:
        self.settings = settings
        self.origin = origin_of(ref, settings)
        settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        settings.mirrors_dir.mkdir(mode=0o700, exist_ok=True)
        self.path = mirror_path(settings, ref)
        self.command = GitCommand(settings, self.origin, self.path)
        self._objects = Objects(lambda: self.command.open("cat-file", "--batch"))
        self._use = ExitStack()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *exception: object) -> None:
        self._objects.close()
        self._use.close()

    def use(self) -> None:
        """Keep it from being discarded until the end. Not before there is something to fetch: a file is left of it."""
        fcntl.flock(self._use.enter_context(_use_file(self.path).open("ab")), fcntl.LOCK_SH)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One launch at a time writes a mirror; the others wait and find what they came for."""
        from filelock import FileLock, Timeout  # a relaunch writes nothing, and need not wait for the import

        try:
            with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_S, poll_interval=0.02):
                yield
        except Timeout as error:
            hint = "See whether its launch still makes progress: spaces-runner ps"
            raise CheckoutError(f"Another launch has been fetching {self.origin.name} for hours.", hint=hint) from error

    def resolve(self, revisions: Sequence[str | None]) -> tuple[str | None, str]:
        """The first of some revisions that there is, and its commit; all are asked for at once.

        Each is a branch, a tag, `refs/pr/N`, a commit, or None: the default branch.
        Raises SpaceNotFound, AccessDenied, RevisionNotFound or NetworkFailed.
        """
        if len(revisions) == 1 and revisions[0] and _COMMIT.fullmatch(revisions[0]):
            return revisions[0], revisions[0]
        wanted = {name: revision for revision in revisions for name in _reference_names(revision)}
        answer = self.command.ask_origin("ls-remote", "--", self.origin.url, *wanted)
        found = {name: sha for sha, _, name in (line.partition("\t") for line in answer.splitlines())}
        if name := next((name for name in wanted if name in found), None):
            return wanted[name], found[name]
        shortest = revisions[-1]
        if shortest is None:
            hint = "Its author has to push something first."
            raise RevisionNotFound(f"{self.origin.name} has no commits yet.", hint=hint)
        if _SHORT_COMMIT.fullmatch(shortest) and (sha := self._expand(shortest)):
            return shortest, sha
        hint = "Give a branch, a tag, refs/pr/N, or a commit with all its 40 digits."
        names = " or ".join(map(str, reversed(revisions[-2:])))
        raise RevisionNotFound(f"{self.origin.name} has no revision {names}.", hint=hint)

    def has(self, sha: str) -> bool:
        """Whether the commit is here, complete."""
        return (self.path / _COMMITS / sha).exists()

    def last_seen(self, revision: str | None) -> str | None:
        """What `resolve` last gave for the revision, if that commit is here: for when the origin is out of reach."""
        sha = self._read_seen(revision)
        return sha if sha and self.has(sha) else None

    def fetch(self, sha: str, revision: str | None, progress: ObjectsProgress) -> bool:
        """Have the commit here, and only it: no history. Returns whether it was fetched.

        What an earlier fetch brought is not brought again. Raises CheckoutError; then nothing half-made is left.
        """
        self.use()
        if self.has(sha) and self._read_seen(revision) == sha:
            return False
        with self.locked():
            fetched = not self.has(sha)
            if fetched and self.path.exists():
                self._sweep()
                self._fetch_into(self.path, sha, progress)
            elif fetched:
                self._fetch_anew(sha, progress)
            seen = self._seen(revision)
            seen.parent.mkdir(exist_ok=True)
            seen.write_text(sha)
        return fetched

    def entries(self, sha: str) -> list[Entry]:
        """Every file of the commit, subdirectories included, in git's order. Raises UnsafeTree for too many."""
        return listing.entries(self.command.open, sha)

    def read(self, blob: str) -> bytes:
        """A blob's content, whole."""
        return self._objects.read(blob)

    def copy(self, blob: str, target: BinaryIO) -> None:
        """Write a blob's content to a file, in pieces."""
        self._objects.copy(blob, target)

    def committed_at(self, sha: str) -> str | None:
        """When the commit was made: ISO 8601 with the committer's offset. None where the commit does not say."""
        match = _COMMITTER.search(self.read(sha))
        if match is None:
            return None
        offset = timedelta(hours=int(match[3]), minutes=int(match[4]))
        try:
            zone = timezone(-offset if match[2] == b"-" else offset)
            return datetime.fromtimestamp(int(match[1]), UTC).astimezone(zone).isoformat()
        except (ValueError, OverflowError, OSError):  # a clock or an offset that cannot be
            return None

    def _fetch_anew(self, sha: str, progress: ObjectsProgress) -> None:
        """Make the mirror aside and put it in its place when it holds the commit."""
        temporary = self.path.with_name(f"{_UNFINISHED}{self.path.name}")
        shutil.rmtree(temporary, ignore_errors=True)  # of a launch that was killed
        try:
            # HEAD names a branch that never is: git-lfs would read the `.lfsconfig` of a commit there.
            command = GitCommand(self.settings, self.origin, temporary)
            command.ask("init", "--quiet", "--bare", "--template=", "--initial-branch=none")
            temporary.chmod(0o700)
            self._fetch_into(temporary, sha, progress)
            temporary.rename(self.path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _fetch_into(self, git_dir: Path, sha: str, progress: ObjectsProgress) -> None:
        command = GitCommand(self.settings, self.origin, git_dir)
        status, lines = self._transfer(command, progress, "--depth=1", f"+{sha}:{_COMMITS}/{sha}")
        if status and _REFUSED in "\n".join(lines):
            # This server gives only what has a name: take all of that, history included, and look inside.
            refspecs = ("+refs/heads/*:refs/origin/heads/*", "+refs/tags/*:refs/origin/tags/*")
            status, lines = self._transfer(command, progress, *refspecs)
            if not status:
                self._name_commit(command, sha)
        if status:
            raise command.failure(tuple(lines))

    def _transfer(self, command: GitCommand, progress: ObjectsProgress, *arguments: str) -> tuple[int, list[str]]:
        options = [argument for argument in arguments if argument.startswith("--")]
        refspecs = [argument for argument in arguments if not argument.startswith("--")]

        def line(text: str) -> None:
            if match := _RECEIVING.search(text):
                progress(int(match[1]), int(match[2]))

        fetch = ["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *options]
        return command.transfer(*fetch, "--", self.origin.url, *refspecs, line=line, tick=lambda: None)

    def _name_commit(self, command: GitCommand, sha: str) -> None:
        try:
            command.ask("cat-file", "-e", f"{sha}^{{commit}}")
        except CheckoutError as error:
            hint = "It is on none of its branches and tags."
            raise RevisionNotFound(f"{self.origin.name} has no commit {sha}.", hint=hint) from error
        command.ask("update-ref", f"{_COMMITS}/{sha}", sha)

    def _expand(self, short: str) -> str | None:
        """The full commit of a short one: a tip of the origin, one that is here, or one that the Hub's API knows."""
        answer = self.command.ask_origin("ls-remote", "--", self.origin.url)
        tips = {line[:40] for line in answer.splitlines() if line.startswith(short)}
        here = {path.name for path in (self.path / _COMMITS).glob(f"{short}*")}
        if len(tips | here) == 1:
            return next(iter(tips | here))
        if not self.origin.on_hub:
            return None
        from spaces_runner.checkout import hub

        return hub.commit_of(self.origin.name, short, self.settings)

    def _seen(self, revision: str | None) -> Path:
        return self.path / "seen" / (quote(revision, safe="") if revision else "HEAD")

    def _read_seen(self, revision: str | None) -> str | None:
        try:
            return self._seen(revision).read_text()
        except OSError:
            return None

    def _sweep(self) -> None:
        """Remove what a killed fetch left in the mirror: its locks and its unfinished pack."""
        stale = [*self.path.glob("*.lock"), *self.path.glob("refs/**/*.lock"), *self.path.glob("objects/pack/tmp_*")]
        for path in stale:
            path.unlink(missing_ok=True)


def _reference_names(revision: str | None) -> tuple[str, ...]:
    """What the revision may be called at the origin, the likeliest first; a tag's commit before the tag itself."""
    if revision is None:
        return ("HEAD",)
    if revision.startswith("refs/"):
        return (f"{revision}^{{}}", revision)
    return (f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}")


def mirror_path(settings: Settings, ref: SpaceRef) -> Path:
    """Where the mirror of a Space on the Hub or a git host is, or would be."""
    return settings.mirrors_dir / _directory_name(origin_of(ref, settings).url)


def discard(path: Path, *, dry_run: bool = False) -> bool:
    """Remove a mirror, or what a killed fetch left beside it; with `dry_run` only say whether it would go.

    False where some launch or inspection uses it, if only to lay out its files.
    """
    with _use_file(path).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not dry_run:
                shutil.rmtree(path)
        except OSError:  # of the lock, BlockingIOError
            return False
    return True


def _use_file(path: Path) -> Path:
    """What all who use a mirror, finished or not, hold a shared lock on. The kernel frees a dead one's."""
    return path.with_name(path.name.removeprefix(_UNFINISHED)).with_suffix(".use")


def _directory_name(url: str) -> str:
    """Readable, and another one for every origin."""
    path = re.sub(r"[^A-Za-z0-9_.-]+", "--", urlsplit(url).path.strip("/").removeprefix("spaces/"))
    return f"{path[-80:].lstrip('.-')}-{hashlib.sha256(url.encode()).hexdigest()[:10]}.git"
