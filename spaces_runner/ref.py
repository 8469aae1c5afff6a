"""What a person pastes -> SpaceRef. Pure, but for looking whether a directory exists; knows no network.

A reference is built anew from validated parts: nothing of the text itself goes any further.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from spaces_runner.errors import RefError
from spaces_runner.settings import Settings
from spaces_runner.types import RefKind, SpaceRef

ACCEPTED = (
    "Paste a Space's address (https://huggingface.co/spaces/owner/name, with /tree/revision if you like, or "
    "https://owner-name.hf.space), owner/name or owner/name@revision, a directory (absolute, ./here or ~/there), "
    "or an https git address on a host listed in SPACES_RUNNER_GIT_HOSTS, with /tree/revision/folder if you like."
)
_HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_LONGEST = 4096  # characters; no path or address that can be meant is longer
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")  # huggingface_hub's REPO_ID_REGEX, one part
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?")
_SEGMENT = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9_.~+-]{0,127}")
# How git hosts address a folder of a revision: GitHub, GitLab, Forgejo and Gitea.
_FOLDER = re.compile(r"(/[^/]+/[^/]+?)/tree/(.+)|(/.+?)/-/tree/(.+)|(/[^/]+/[^/]+?)/src/(?:branch|tag|commit)/(.+)")
_PATH_PART = re.compile(r"[\w.+~() -]{1,255}")
_URL = re.compile(r"(https?)://([A-Za-z0-9.:\[\]-]+)((?:/[^?#\s\\]*)?)(?:[?#].*)?", re.IGNORECASE | re.ASCII)
_VIEWS = frozenset({"tree", "blob", "raw", "resolve", "commit", "commits", "edit", "blame"})
_PATH_STARTS = ("/", "./", "../", "~")


def parse(text: str, settings: Settings) -> SpaceRef:
    """The Space that `text` names. Raises RefError, which says what is accepted, for everything else."""
    if len(text) > _LONGEST:
        raise _refused(f"This is {len(text)} characters long; no Space's address is.")
    text = text.strip()
    if text.startswith(_PATH_STARTS) or text in (".", ".."):
        return _directory(text)
    if not text.isascii() or not text.isprintable():
        raise _refused(f"This names no Space: {_shown(text)}.")
    if match := _URL.fullmatch(text):
        return _from_url(match[1].lower(), match[2].lower(), match[3], settings)
    head = text.split("/", 1)[0].lower()
    if head in _hub_hosts(settings) or head.endswith(".hf.space"):
        return parse(f"{_scheme(head, settings)}://{text}", settings)
    if "://" in text or ":" in text:
        raise _refused(f"This is no address of a Space: {_shown(text)}.")
    return _from_id(text)


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine; only there is http allowed."""
    return (host if host.endswith("]") else re.sub(r":\d+$", "", host)) in _LOOPBACK


def _from_url(scheme: str, host: str, path: str, settings: Settings) -> SpaceRef:
    if scheme == "http" and not is_loopback(host):
        raise _refused(f"Only https addresses are accepted, and http://{host[:80]} is not one.")
    if host in _hub_hosts(settings):
        return _from_hub_path(path, settings)
    if host.endswith(".hf.space"):
        return _from_subdomain(host)
    if host in settings.git_hosts:
        return _from_git(scheme, host, path)
    raise _refused(f"{host[:80]} is neither the Hub nor a host you allowed.")


def _from_hub_path(path: str, settings: Settings) -> SpaceRef:
    """`/spaces/owner/name`, and what the Hub's own pages append: a view, a revision, a file."""
    prefix = urlsplit(settings.hf_endpoint).path
    parts = [part for part in path.removeprefix(prefix).split("/") if part]
    if not parts or parts[0] != "spaces":
        raise _refused("This is an address on the Hub, but not a Space's: those have /spaces/ in them.")
    if len(parts) < 3:
        raise _refused("This address names no Space: it must have an owner and a name.")
    name, _, at = unquote(parts[2]).partition("@")
    revision, tail = _viewed(parts[3:])
    ref = _hub(unquote(parts[1]), name.removesuffix(".git"), revision or at or None)
    return replace(ref, tail=tail)


def _viewed(parts: list[str]) -> tuple[str | None, str]:
    """The revision in `tree/<revision>/…`, and what may be more of its name or the path of a file.

    Nothing may be where the revision ends for certain: after `refs/pr/N`, a commit or `main`, which git lets no longer
    name begin with, and where the Hub has encoded the slashes of a name.
    """
    if not parts:
        return None, ""
    if parts[0] not in _VIEWS or len(parts) < 2:
        raise _refused(f"This address is of a Space's {_shown(parts[0])} page; its files are what can be run.")
    if parts[1] == "refs":
        return unquote("/".join(parts[1:4])), ""
    revision = unquote(parts[1])
    certain = revision == "main" or "/" in revision or _COMMIT.fullmatch(revision)
    return revision, "" if certain else _tail(revision, parts[2:])


def _tail(revision: str, parts: list[str]) -> str:
    """As much of a path as could belong to a revision's name."""
    found: list[str] = []
    for part in map(unquote, parts):
        if "/" in part or not _is_revision("/".join((revision, *found, part))):
            break
        found.append(part)
    return "/".join(found)


def _from_subdomain(host: str) -> SpaceRef:
    label = host.removesuffix(".hf.space").removesuffix(".static")
    if not _SUBDOMAIN.fullmatch(label):
        raise _refused(f"This is no address of a Space: {_shown(host)}.")
    return SpaceRef(kind=RefKind.SUBDOMAIN, source=label)


def _from_git(scheme: str, host: str, path: str) -> SpaceRef:
    """A repository, with `@revision` or with a page's way to a folder of one."""
    tail = ""
    if match := _FOLDER.fullmatch(path.rstrip("/")):
        path, rest = (group for group in match.groups() if group is not None)
        revision, tail = _git_folder(rest)
    else:
        path, _, revision = path.partition("@")
    segments = [segment for segment in path.split("/") if segment]
    if not segments or not all(_SEGMENT.fullmatch(segment) and ".." not in segment for segment in segments):
        raise _refused("This git address has a path that is not accepted.")
    source = f"{scheme}://{host}/{'/'.join(segments)}"
    return SpaceRef(kind=RefKind.GIT, source=source, revision=_revision(revision or None), tail=tail)


def _git_folder(rest: str) -> tuple[str, str]:
    """The beginning of the revision in `<revision>/<folder>`, and what may be more of it or the folder."""
    parts = [unquote(part) for part in rest.split("/") if part]
    names = [name for part in parts[1:] for name in part.split("/")]
    if not all(_PATH_PART.fullmatch(name) and name.strip(".") and not name.startswith("-") for name in names):
        raise _refused("This git address names a folder that is not accepted.")
    return parts[0], "/".join(names)


def _from_id(text: str) -> SpaceRef:
    """`owner/name`, `spaces/owner/name`, each with or without `@revision`."""
    place, at, revision = text.partition("@")
    parts = place.rstrip("/").split("/")
    if len(parts) == 3 and parts[0] == "spaces":
        parts = parts[1:]
    if len(parts) != 2 or parts[0] == "spaces" or (at and not revision):
        raise _refused(f"This names no Space: {_shown(text)}.")
    return _hub(parts[0], parts[1], revision or None)


def _hub(owner: str, name: str, revision: str | None) -> SpaceRef:
    """A Space on the Hub, by the rules of `huggingface_hub.utils.validate_repo_id` for both parts."""
    for part in (owner, name):
        if not _PART.fullmatch(part) or "--" in part or ".." in part or part.endswith(".git"):
            raise _refused(f"The Hub has no owner or Space called {_shown(part)}: such names cannot be.")
    return SpaceRef(kind=RefKind.HUB, source=f"{owner}/{name}", revision=_revision(revision))


def _revision(revision: str | None) -> str | None:
    if revision is None:
        return None
    if not _is_revision(revision):
        raise _refused(f"This is no branch, tag or commit: {_shown(revision)}.")
    return revision


def _is_revision(text: str) -> bool:
    bad_part = any(not part or part.startswith(".") or part.endswith(".lock") for part in text.split("/"))
    return not bad_part and bool(_REVISION.fullmatch(text)) and ".." not in text and not text.endswith(".")


def _directory(text: str) -> SpaceRef:
    try:
        path = Path(text).expanduser().resolve()
        found = path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such user, a null byte
        raise _refused(f"This names no directory: {_shown(text)}.") from error
    if not found:
        raise _refused(f"There is no directory {_shown(text)} on this machine.")
    if path == Path(path.anchor):
        raise _refused("The root directory is no Space.")
    return SpaceRef(kind=RefKind.DIRECTORY, source=str(path))


def _hub_hosts(settings: Settings) -> frozenset[str]:
    return _HUB_HOSTS | {urlsplit(settings.hf_endpoint).netloc.lower()}


def _scheme(host: str, settings: Settings) -> str:
    endpoint = urlsplit(settings.hf_endpoint)
    return endpoint.scheme if endpoint.netloc.lower() == host else "https"


def _shown(text: str) -> str:
    """`text` for a message: short, and with nothing in it that a terminal obeys."""
    return ascii(text if len(text) <= 80 else text[:80] + "…")


def _refused(message: str) -> RefError:
    return RefError(message, hint=ACCEPTED)
