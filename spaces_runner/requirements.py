"""requirements.txt and packages.txt -> what they ask for. Reads files of the checkout only, and runs nothing.

pip and uv print the lines of a file they cannot parse, whichever file that is: an include that leads outside the
checkout would put a stranger's secret into a log. So the files are parsed here, and a resolver gets `lines`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from spaces_runner.errors import BadRequirements
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Finding, Severity

MAX_BYTES = 1024**2
MAX_DEPTH = 8  # of `-r` in `-r`
MAX_LINES = 10_000  # with all includes: a file that includes another twice doubles what is read at each level
HUB_ROOTS = ("/home/user/app/", "/app/")  # where the Hub lays out a Space's files

_PLACES = ("--index-url", "--extra-index-url", "--find-links")
_INDEX_OPTIONS = (*_PLACES, "--no-index")
_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_WITH_VALUE = {*_PLACES, "--requirement", "--constraint", "--editable", "--no-binary", "--only-binary"}
_KEPT = {*_INDEX_OPTIONS, "--no-binary", "--only-binary"}  # what a resolver is told; the rest is dropped
_IGNORED_VALUE = {"--trusted-host", "--use-feature", "--progress-bar", "--retries", "--timeout", "--cache-dir"}
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HASH = re.compile(r"\s--hash[= ]\s*(\S+)")
_URL = re.compile(r"^(?:(?:git|hg|svn|bzr)\+[a-z]+|https?|file|ftp)://?", re.IGNORECASE)
_WEB = re.compile(r"https?://", re.IGNORECASE)
_LOCAL = re.compile(r"(?:git|hg|svn|bzr)\+(?!(?:https?|ssh|git|svn)://)", re.IGNORECASE)
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")
_VARIABLE = re.compile(r"\$\{\w+\}")
_ARCHIVE = re.compile(r"\.(?:whl|zip|tar\.gz|tgz|tar\.bz2)(?:#.*)?$", re.IGNORECASE)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]+)?")  # Debian policy 5.6.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to install. `name` is canonical, "" when only building it would tell."""

    line: str  # as a resolver takes it
    origin: str  # "requirements.txt:3"
    name: str = ""
    specifier: str = ""
    marker: str = ""
    url: str = ""
    path: str = ""  # of a wheel or project in the checkout, relative to its root


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A requirements file with its includes, in order. Paths in `lines` are relative to the checkout's root."""

    entries: tuple[Entry, ...] = ()
    options: tuple[str, ...] = ()  # "--extra-index-url https://…", as a resolver takes them
    constraints: tuple[str, ...] = ()  # lines of `-c` files
    prerelease: bool = False  # --pre
    findings: tuple[Finding, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What a resolver reads: the options, then the requirements."""
        return (*self.options, *(entry.line for entry in self.entries))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.entries if entry.name)

    def pin(self, name: str) -> str | None:
        """The exact version that `name` is pinned to, without wildcards; None when it is not."""
        wanted = canonicalize_name(name)
        for entry in self.entries:
            exact = re.fullmatch(r"={2,3}\s*([^\s*,]+)", entry.specifier)
            if entry.name == wanted and exact:
                return exact.group(1)
        return None

    def specifier(self, name: str) -> str:
        """All that the requirements say of the version of `name`: ">=4,<5", "" for nothing."""
        wanted = canonicalize_name(name)
        return ",".join(entry.specifier for entry in self.entries if entry.name == wanted and entry.specifier)

    def without(self, name: str) -> tuple[str, ...]:
        """`lines` but for what asks for `name`."""
        unwanted = canonicalize_name(name)
        return (*self.options, *(entry.line for entry in self.entries if entry.name != unwanted))


def read(root: str | Path, path: str) -> Requirements:
    """The requirements file `path` (relative to the checkout `root`, which may itself be relative) and its includes.

    Raises BadRequirements, naming file and line, for what is no requirement and for what leads outside the checkout.
    """
    reading = _Reading(root=Path(root).resolve())
    reading.file(path, origin="", constraint=False)
    return Requirements(
        entries=tuple(reading.entries),
        options=tuple(dict.fromkeys(reading.options)),
        constraints=tuple(reading.constraints),
        prerelease=reading.prerelease,
        findings=tuple(reading.findings),
    )


def read_packages(root: str | Path, path: str) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The Debian packages that a packages.txt names, and findings for words that are no package's name."""
    text = _text(_inside(Path(root).resolve(), path, f"{path} is not in the Space"), path)
    words = [word for line in text.splitlines() for word in _COMMENT.sub("", line).split()]
    good = tuple(dict.fromkeys(word for word in words if _PACKAGE.fullmatch(word)))
    bad = [clean_line(word)[:100] for word in words if not _PACKAGE.fullmatch(word)]
    if not bad:
        return good, ()
    finding = Finding(
        code="bad-package-name",
        severity=Severity.WARNING,
        message=f"{path} names {len(bad)} word(s) that are no Debian package: {', '.join(bad[:5])}.",
        remedy=f"Correct {path}: one package name a line.",
    )
    return good, (finding,)


@dataclass(slots=True)
class _Reading:
    root: Path
    entries: list[Entry] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    prerelease: bool = False
    open_files: list[Path] = field(default_factory=list)
    lines: int = 0

    def file(self, path: str, *, origin: str, constraint: bool) -> None:
        where = f"{origin} includes a file" if origin else path
        real = _inside(
            self.root, path, f"{where} that is not in the Space" if origin else f"{path} is not in the Space"
        )
        if real in self.open_files:  # a circle of includes
            return
        if len(self.open_files) >= MAX_DEPTH:
            raise BadRequirements(f"{origin} includes files more than {MAX_DEPTH} deep.", hint=_HINT)
        self.open_files.append(real)
        for number, line in _logical_lines(_text(real, path)):
            self.line(line, origin=f"{path}:{number}", folder=real.parent, constraint=constraint)
        self.open_files.pop()

    def line(self, line: str, *, origin: str, folder: Path, constraint: bool) -> None:
        self.lines += 1
        if self.lines > MAX_LINES:
            raise BadRequirements(
                f"The requirements have more than {MAX_LINES} lines, those of includes too.", hint=_HINT
            )
        if _VARIABLE.search(line):
            # A resolver would put the runner's own variables in: a way to carry a token to a stranger's index.
            raise _bad(origin, line, "uses an environment variable, which is not expanded here")
        if line.startswith("-"):
            self.option(line, origin=origin, folder=folder, constraint=constraint)
            return
        entry = self.entry(line, origin=origin)
        if constraint:
            self.constraints.append(entry.line)
        else:
            self.entries.append(entry)

    def option(self, line: str, *, origin: str, folder: Path, constraint: bool) -> None:
        name, value = _split_option(line, origin)
        if name in ("--requirement", "--constraint"):
            target = self.relative(value, origin, folder)
            self.file(target, origin=origin, constraint=constraint or name == "--constraint")
        elif name == "--editable":
            self.entries.append(self.entry(value, origin=origin, editable=True))
        elif name == "--pre":
            self.prerelease = True
        elif name in _KEPT:
            self.index(name, value, origin, folder)
        elif name not in _IGNORED_VALUE:
            self.note("option-ignored", Severity.INFO, f"{origin} has {name}, which is not used here.")

    def index(self, name: str, value: str, origin: str, folder: Path) -> None:
        if name in _PLACES and not _WEB.match(value):  # a resolver takes a directory for each, of the owner's too
            path = _path_of(value, origin) if value.lower().startswith("file:") else value
            value = f"./{self.relative(path, origin, folder)}"
        self.options.append(f"{name} {value}".rstrip())
        if name in _INDEX_OPTIONS:
            self.note(
                "index-override",
                Severity.WARNING,
                f"{origin} takes packages from elsewhere: {name} {without_password(value)}".rstrip(" :") + ".",
                "Launch only when you trust that source: it decides what code is installed.",
            )

    def entry(self, line: str, *, origin: str, editable: bool = False) -> Entry:
        hashes = tuple(_HASH.findall(line))
        line = _HASH.sub("", line).strip()
        flag = "-e " if editable else ""
        if _is_path(line):
            path = self.relative(line.partition("[")[0], origin, self.root)
            extras = line[len(line.partition("[")[0]) :]
            name = _wheel_name(path)
            at = "." if path == "." else f"./{path}"
            return Entry(line=f"{flag}{at}{extras}", origin=origin, name=name, path=path)
        if _URL.match(line):
            return self.link(line, origin=origin)
        requirement = _requirement(line, origin)
        if requirement.url:
            self.link(requirement.url, origin=origin)  # its checks
        return Entry(
            line=" ".join([str(requirement), *(f"--hash={value}" for value in hashes)]),
            origin=origin,
            name=canonicalize_name(requirement.name),
            specifier=str(requirement.specifier),
            marker=str(requirement.marker or ""),
            url=requirement.url or "",
        )

    def link(self, line: str, *, origin: str) -> Entry:
        url = line.partition(";")[0].partition(" ")[0]
        if _LOCAL.match(url):
            raise BadRequirements(f"{origin} names a repository that is not on the network.", hint=_HINT)
        if url.lower().startswith("file:"):
            path = self.relative(_path_of(url, origin), origin, self.root)
            return Entry(line=f"./{path}", origin=origin, name=_wheel_name(path), path=path)
        egg = _EGG.search(url)
        name = canonicalize_name(egg.group(1)) if egg else _wheel_name(_path_of(url, origin))
        marker = line.partition(";")[2].strip()
        # `-e` of a remote repository: a plain install is the same code, and needs no writable clone.
        return Entry(line=line, origin=origin, name=name, url=url, marker=marker)

    def relative(self, path: str, origin: str, folder: Path) -> str:
        """`path`, which a line at `origin` names, relative to the root. Raises BadRequirements when it lies outside."""
        for hub_root in HUB_ROOTS:
            if path.startswith(hub_root):
                path, folder = path.removeprefix(hub_root), self.root
        if _URL.match(path):
            raise BadRequirements(f"{origin} includes a file from the network.", hint=_HINT)
        full = folder / path
        real = _inside(self.root, str(full), f"{origin} names a path that is not in the Space")
        return real.relative_to(self.root).as_posix()

    def note(self, code: str, severity: Severity, message: str, remedy: str = "") -> None:
        self.findings.append(Finding(code=code, severity=severity, message=message, remedy=remedy))


_HINT = "Correct requirements.txt in the Space (or launch a corrected copy of it from a directory)."


def _inside(root: Path, path: str, problem: str) -> Path:
    """The real path of `path`, which must exist inside `root`, symbolic links followed."""
    try:
        real = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # missing; a circle of links; a NUL character
        raise BadRequirements(f"{problem}.", hint=_HINT) from None
    if not real.is_relative_to(root):
        raise BadRequirements(f"{problem}.", hint=_HINT)
    return real


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise BadRequirements(f"{name} cannot be read ({exc.strerror}).", hint=_HINT) from exc
    if len(raw) > MAX_BYTES:
        raise BadRequirements(f"{name} is larger than {MAX_BYTES // 1024} KiB.", hint=_HINT)
    return _decode(raw)


def _decode(raw: bytes) -> str:
    """UTF-8, or what Windows editors and PowerShell's `>` write: UTF-16, or the Western code page."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    if b"\x00" in raw[:64]:
        return raw.decode("utf-16-le" if raw[1:2] == b"\x00" else "utf-16-be", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined where they end in a backslash, with the number of their first line."""
    pending, begun = "", 0
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        line = raw.rstrip()
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            begun = begun or number
            pending += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", pending + raw).strip()
        if whole:
            yield begun or number, whole
        pending, begun = "", 0
    if last := _COMMENT.sub("", pending).strip():
        yield begun, last


def _split_option(line: str, origin: str) -> tuple[str, str]:
    """The long name and the value of an option line. `-rfile`, `-r file`, `--requirement=file` are the same."""
    name, separator, value = line.partition("=") if line.startswith("--") else (line[:2], "", line[2:])
    if " " in name or not separator:
        name, _, value = line.replace("\t", " ").partition(" ") if line.startswith("--") else (line[:2], "", line[2:])
    name = _SHORT.get(name, name)
    if name in _WITH_VALUE and not value.strip():
        raise _bad(origin, line, f"has {name} without a value")
    return name, _unquoted(value.strip().removeprefix("=").strip())


def _unquoted(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return words[0] if len(words) == 1 else value


def _requirement(line: str, origin: str) -> Requirement:
    text = re.split(r"\s+--[a-z]", line)[0]  # --config-settings and the like, which are pip's own
    try:
        return Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).splitlines()[0]
        raise _bad(origin, line, f"is no requirement ({clean_line(reason)[:200]})") from exc
    except RecursionError:
        raise _bad(origin, line, "is no requirement") from None


def _path_of(url: str, origin: str) -> str:
    """The path of an address, decoded. Raises BadRequirements for one that is none."""
    try:
        return unquote(urlsplit(url).path)
    except ValueError:  # brackets that hold no IPv6, a host that another alphabet disguises
        raise _bad(origin, url, "has an address that is none") from None


def _is_path(line: str) -> bool:
    """Whether pip would read `line` as a file or folder."""
    plain = line.partition("[")[0].partition(" ")[0]
    if _URL.match(plain) or "@" in line.partition(";")[0].partition("/")[0]:
        return False
    return plain.startswith((".", "/")) or "/" in plain or bool(_ARCHIVE.search(plain))


def _wheel_name(path: str) -> str:
    try:
        return canonicalize_name(parse_wheel_filename(path.rpartition("/")[2])[0])
    except InvalidWheelFilename:
        return ""


def without_password(url: str) -> str:
    """`url` as it may be shown."""
    return clean_line(re.sub(r"//[^/@\s]*@", "//…@", url))[:200]


def _bad(origin: str, line: str, problem: str) -> BadRequirements:
    return BadRequirements(f"{origin} {problem}.", hint=_HINT, lines=(clean_line(without_password(line))[:500],))
