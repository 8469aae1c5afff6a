"""Model files: fetched once by the runner, read by every Space. Knows the Hub's cache layout; not what models are.

The layout is huggingface_hub's: `models--owner--name/{blobs,snapshots,refs}`, files as links into `blobs`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial, partialmethod
from pathlib import Path
from threading import Event, Thread

from spaces_runner.errors import ModelsTooLarge, RefError
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Finding, Severity, Step, User

_LOOK_EVERY_S = 0.25  # at what has arrived
_READ_ONLY = 0o444
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preload:
    """One `preload_from_hub` entry: a model, and of it some files (all: none named) at some revision."""

    repo: str
    files: tuple[str, ...] = ()
    revision: str | None = None


def parse_entry(entry: str) -> Preload:
    """`repo`, `repo file1,file2` or `repo file1,file2 revision`, as Spaces' front matter has them. Raises RefError."""
    words = entry.split()
    hint = "In the Space's README: preload_from_hub lists `owner/name`, then files and a commit if you like."
    if not 1 <= len(words) <= 3:
        raise RefError(f"This preload_from_hub entry names no model: {entry[:80]!a}.", hint=hint)
    revision = words[2] if len(words) == 3 else None
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise RefError(f"This is no revision of a model: {revision[:80]!a}.", hint=hint)
    files = tuple(name for name in words[1].split(",") if name) if len(words) > 1 else ()
    return Preload(repo=words[0], files=files, revision=revision)


def prefetch(entries: tuple[str, ...], settings: Settings, report: Reporter) -> tuple[Finding, ...]:
    """Fetch what `preload_from_hub` names into `settings.models_dir`, a cache that lasts.

    Progress is told in bytes, of each model by its name. A model that cannot be fetched is a finding: the app may do
    without, or fetch it itself. Each finding is reported and returned. What was fetched once is not asked for again.
    Raises ModelsTooLarge before anything is fetched that would not leave the floor free.
    """
    findings = []
    for entry in entries:
        try:
            preload = parse_entry(entry)
            mark = _mark(preload, settings)
            if mark.exists():
                continue
            report.log(f"Fetching model {preload.repo}")
            problem = _fetch(preload, settings, report)
            if not problem:
                mark.parent.mkdir(exist_ok=True)
                mark.touch()
        except RefError as error:
            problem = error.message
        if problem:
            findings.append(_unfetched(entry, problem))
            report.found(findings[-1])
    return tuple(findings)


def share(settings: Settings, hf_home: Path, user: User | None) -> None:
    """Let a Space find in its own `hf_home` what the runner fetched, without a second copy and read-only.

    With a user of its own it gets directories of its own and hard links to files that stay root's; otherwise links.
    What the Space has itself stays. Nothing is written through a link that it may have put there.
    """
    repositories = sorted(settings.models_dir.glob("models--*"))
    if not repositories:
        return
    base = _trusted(settings.spaces_dir, hf_home)
    with _own_directory(base, (hf_home / "hub").relative_to(base), user) as hub:
        for repository in repositories:
            # A link where a directory should be is the Space's own doing: it does without this model.
            with suppress(NotADirectoryError):
                for name in ("blobs", "snapshots", "refs"):
                    _share_tree(repository / name, hub, Path(repository.name, name), user)


def _mark(preload: Preload, settings: Settings) -> Path:
    """The empty file that says that the entry was fetched."""
    digest = hashlib.sha256(f"{settings.hf_endpoint}\0{preload!r}".encode()).hexdigest()
    return settings.models_dir / ".preloaded" / digest[:32]


def _trusted(spaces_dir: Path, hf_home: Path) -> Path:
    """The directory above `hf_home` that no Space can write: a Space's own root, where it lies in one."""
    if hf_home.is_relative_to(spaces_dir):
        return spaces_dir / hf_home.relative_to(spaces_dir).parts[0]
    return hf_home.parent


def _fetch(preload: Preload, settings: Settings, report: Reporter) -> str | None:
    """Fetch a model. Returns why that failed, None when it did not."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    settings.models_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    download = partial(
        snapshot_download,
        preload.repo,
        revision=preload.revision,
        allow_patterns=list(preload.files) or None,
        cache_dir=settings.models_dir,
        endpoint=settings.hf_endpoint,
        token=False,  # as on the Hub: what the owner's token opens must not reach every Space
        tqdm_class=_quiet_bar(),
    )
    try:
        absent = sum(_absent_bytes(file) for file in download(dry_run=True))
        with _progress(preload.repo, absent, settings, report):
            download()
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        text = str(error.__cause__ or error).strip().splitlines()
        return text[0] if text else type(error).__name__
    return None


def _absent_bytes(file: object) -> int:
    """What a `DryRunFileInfo` says is still to be fetched."""
    return int(getattr(file, "file_size", None) or 0) if getattr(file, "will_download", False) else 0


@contextmanager
def _progress(repo: str, absent: int, settings: Settings, report: Reporter) -> Iterator[None]:
    """Tells, while the block fetches a model, how much has arrived of the `absent` bytes of it. Raises ModelsTooLarge.

    What is on disk tells it, however the client brings it there.
    """
    _require_space(absent, settings)
    from huggingface_hub.file_download import repo_folder_name

    blobs = settings.models_dir / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"
    before = _bytes_in(blobs)

    def tell() -> None:
        arrived = max(0, min(_bytes_in(blobs) - before, absent))
        report.progress(Step.MODELS, arrived, absent, "bytes", what=repo)

    with _again_and_again(tell):
        yield
    if absent:
        report.progress(Step.MODELS, absent, absent, "bytes", what=repo)


def _bytes_in(folder: Path) -> int:
    """The bytes of a folder's files, which may come and go meanwhile; 0 where there is none."""
    total = 0
    with suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total


@contextmanager
def _again_and_again(look: Callable[[], None]) -> Iterator[None]:
    """Calls `look` several times a second, in a thread, while the block runs."""
    over = Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            look()

    thread = Thread(target=watch, name="models", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _quiet_bar() -> type:
    """A progress bar that nobody sees: the log is for lines."""
    from huggingface_hub.utils.tqdm import tqdm

    return type("QuietBar", (tqdm,), {"__init__": partialmethod(tqdm.__init__, disable=True)})


def _require_space(needed: int, settings: Settings) -> None:
    free = shutil.disk_usage(settings.models_dir).free
    if needed and free - needed < settings.disk_floor_bytes:
        raise ModelsTooLarge(
            f"The Space's models need {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free"
            f" ({settings.disk_floor_bytes / 1e9:.1f} GB of them stay free).",
            hint="Make room (spaces-runner prune), or move the state with SPACES_RUNNER_HOME to a larger disk.",
        )


def _unfetched(entry: str, problem: str) -> Finding:
    return Finding(
        code="model-not-preloaded",
        severity=Severity.WARNING,
        message=f"The model {entry.split(maxsplit=1)[0][:80]!a} was not fetched beforehand."
        if entry.split()
        else "An empty entry.",
        remedy="If the app needs it: check its name, and that this machine reaches the Hub. "
        "Private and gated ones need a token: --secret HF_TOKEN",
        lines=(problem,),
    )


def _share_tree(source: Path, hub: int, place: Path, user: User | None) -> None:
    """Make what is in `source` appear under `place`, relative to the open directory `hub`."""
    for folder, _, names in os.walk(source):
        wanted = [name for name in names if not name.endswith((".incomplete", ".lock"))]
        if not wanted:
            continue
        with _open_below(hub, place / Path(folder).relative_to(source), user) as directory:
            for name in wanted:
                _share_file(Path(folder, name), name, directory, user)


def _share_file(source: Path, name: str, directory: int, user: User | None) -> None:
    try:
        if source.is_symlink():  # of a snapshot, into its blobs: relative, and so as good here as there
            _link(str(source.readlink()), name, directory, user)
        elif source.parent.name == "blobs" and user is not None:
            source.chmod(_READ_ONLY)
            os.link(source, name, dst_dir_fd=directory, follow_symlinks=False)
        elif source.parent.name == "blobs":
            source.chmod(_READ_ONLY)
            _link(str(source), name, directory, None)
        else:
            _copy_small(source, name, directory, user)
    except FileExistsError:
        return  # the Space's own, or shared before


def _link(target: str, name: str, directory: int, user: User | None) -> None:
    os.symlink(target, name, dir_fd=directory)
    if user is not None:
        os.chown(name, user.uid, user.gid, dir_fd=directory, follow_symlinks=False)


def _copy_small(source: Path, name: str, directory: int, user: User | None) -> None:
    """A reference: forty bytes that name a commit."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=directory), "wb") as file:
        file.write(source.read_bytes())
        if user is not None:
            os.fchown(file.fileno(), user.uid, user.gid)


@contextmanager
def _own_directory(base: Path, below: Path, user: User | None) -> Iterator[int]:
    """The directory `below` the trusted `base`, open; what was not there belongs to `user`."""
    base.mkdir(mode=0o755, parents=True, exist_ok=True)
    trusted = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _open_below(trusted, below, user) as directory:
            yield directory
    finally:
        os.close(trusted)


@contextmanager
def _open_below(start: int, below: Path, user: User | None) -> Iterator[int]:
    """Open `below`, part by part and through no link: the Space owns these directories and may put links there."""
    directory = os.dup(start)
    try:
        for part in below.parts:
            inner = _enter(directory, part, user)
            os.close(directory)
            directory = inner
        yield directory
    finally:
        os.close(directory)


def _enter(directory: int, name: str, user: User | None) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=directory)
        made = True
    except FileExistsError:
        made = False
    inner = os.open(name, _DIRECTORY, dir_fd=directory)
    if made and user is not None and os.fstat(inner).st_uid != user.uid:
        os.fchown(inner, user.uid, user.gid)
    return inner
