"""A checkout -> what it says about itself. Reads the tree; installs, runs and fetches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.version import InvalidVersion, Version

from spaces_runner import sdks
from spaces_runner.detect import advice, frontmatter, scan
from spaces_runner.detect.frontmatter import FrontMatter
from spaces_runner.errors import BadRequirements, NoAppFile, UnknownSdk
from spaces_runner.ports import SPACE_PORT
from spaces_runner.pysource import is_file
from spaces_runner.requirements import Requirements, read, read_packages
from spaces_runner.sanitize import clean_line
from spaces_runner.types import Checkout, Finding, RunOptions, Sdk, Severity, SpaceSpec

STARTUP_TIMEOUT_S = 1800.0  # the Hub's, where the Space does not say
LONGEST_TIMEOUT_S = 24 * 3600.0

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_HEADERS = ("cross-origin-embedder-policy", "cross-origin-opener-policy", "cross-origin-resource-policy")
_HEADER_VALUE = re.compile(r"[a-z-]{1,40}")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PYTHON = re.compile(r"3\.\d{1,2}(?:\.\d{1,2})?")
_GRADIO = re.compile(rb"^\s*(?:import|from)\s+gradio\b", re.MULTILINE)
_STREAMLIT = re.compile(rb"^\s*(?:import|from)\s+streamlit\b", re.MULTILINE)
_PEEK_BYTES = 256 * 1024
_SHOWN = 20  # files that an error names


def detect(checkout: Checkout, options: RunOptions) -> SpaceSpec:
    """The plan's facts: kind, versions, app file, requirements, imports, secrets, findings.

    Raises BadFrontMatter, UnknownSdk, or NoAppFile (with the candidates that exist).
    """
    root = Path(checkout.path)
    meta = _front_matter(root)
    sdk = _sdk(meta, root)
    app_file = _app_file(meta, sdk, root)
    sdk_version, version_findings = _version(meta, "sdk_version")
    python_version, python_findings = _python(meta)
    headers, header_findings = _headers(meta)
    app_port, port_findings = _app_port(meta)
    files = _Files.none() if sdks.of(sdk).contained else _Files.of(root)
    facts = scan.scan(root, app_file) if app_file.endswith(".py") else scan.Facts()
    secrets = tuple(sorted(advice.missing_variables(facts, options)))
    view = advice.View(
        root=root, meta=meta, sdk=sdk, sdk_version=sdk_version, options=options, facts=facts, required=files.required
    )
    return SpaceSpec(
        sdk=sdk,
        sdk_version=sdk_version,
        python_version=python_version,
        app_file=app_file,
        base_path=_base_path(meta),
        app_port=app_port,
        title=clean_line(_text(meta, "title"))[:200],
        emoji=clean_line(_text(meta, "emoji"))[:16],
        requirements=files.requirements,
        pre_requirements=files.pre_requirements,
        packages=files.packages,
        imports=tuple(sorted(facts.imports)),
        secrets=secrets,
        hub_paths=tuple(sorted(facts.hub_paths)),
        models=_words(meta, "models") or tuple(sorted(facts.models)),
        preload=_words(meta, "preload_from_hub"),
        headers=headers,
        build_command=_build_command(meta, sdk),
        suggested_hardware=clean_line(_text(meta, "suggested_hardware"))[:60] or None,
        startup_timeout_s=_duration(_text(meta, "startup_duration_timeout")) or STARTUP_TIMEOUT_S,
        findings=(
            *version_findings,
            *python_findings,
            *header_findings,
            *port_findings,
            *files.findings,
            *advice.findings(view),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The files that say what to install."""

    requirements: str | None
    pre_requirements: str | None
    packages: tuple[str, ...]
    required: Requirements | None  # None: there is a file that cannot be read; the next stage says so
    findings: tuple[Finding, ...]

    @classmethod
    def none(cls) -> _Files:
        """Where an image of the Space's own has all that it needs."""
        return cls(requirements=None, pre_requirements=None, packages=(), required=None, findings=())

    @classmethod
    def of(cls, root: Path) -> _Files:
        names = [name if (root / name).is_file() else None for name in ("requirements.txt", "pre-requirements.txt")]
        packages: tuple[str, ...] = ()
        findings: tuple[Finding, ...] = ()
        required: Requirements | None = None
        try:
            if (root / "packages.txt").is_file():
                packages, findings = read_packages(root, "packages.txt")
            parsed = [read(root, name) for name in names if name]
            required = Requirements(entries=tuple(entry for one in parsed for entry in one.entries))
            findings += tuple(finding for one in parsed for finding in one.findings)
        except BadRequirements:
            required = None
        return cls(
            requirements=names[0], pre_requirements=names[1], packages=packages, required=required, findings=findings
        )


# Front matter


def _front_matter(root: Path) -> FrontMatter:
    readme = _readme(root)
    if readme is None:
        return {}
    with readme.open("rb") as file:
        return frontmatter.read(file.read(2 * frontmatter.MAX_BYTES))


def _readme(root: Path) -> Path | None:
    """README.md in any case, the Hub's own spelling first; never a link that leads out of the tree."""
    found = sorted(path for path in root.iterdir() if path.name.lower() == "readme.md")
    found.sort(key=lambda path: path.name != "README.md")
    return next((path for path in found if path.is_file() and _within(root, path)), None)


def _text(meta: FrontMatter, key: str) -> str:
    value = meta.get(key, "")
    return value.strip() if isinstance(value, str) else ""


def _words(meta: FrontMatter, key: str) -> tuple[str, ...]:
    value = meta.get(key, [])
    items = [value] if isinstance(value, str) else list(value)
    return tuple(dict.fromkeys(clean_line(item).strip()[:500] for item in items if item.strip()))[:100]


def _sdk(meta: FrontMatter, root: Path) -> Sdk:
    word = _text(meta, "sdk").lower()
    if not word:
        return _guessed_sdk(root)
    if word not in tuple(Sdk):
        known = ", ".join(sorted(Sdk))
        raise UnknownSdk(
            f"README.md says sdk: {clean_line(word)[:60]}, which is no kind of Space.",
            hint=f"Set sdk to one of {known} in the front matter of README.md.",
        )
    return Sdk(word)


def _guessed_sdk(root: Path) -> Sdk:
    """The kind of a Space that does not say: by what its files import, else by which files there are."""
    sources = [_peek(path) for path in _root_scripts(root)]
    if any(_GRADIO.search(source) for source in sources):
        return Sdk.GRADIO
    if any(_STREAMLIT.search(source) for source in sources):
        return Sdk.STREAMLIT
    if (root / "Dockerfile").is_file():
        return Sdk.DOCKER
    return Sdk.STATIC if (root / "index.html").is_file() and not sources else Sdk.GRADIO


def _version(meta: FrontMatter, key: str) -> tuple[str | None, tuple[Finding, ...]]:
    """A version of the front matter, as the author wrote it. One that is none is a finding, and left out."""
    value = _text(meta, key).lstrip("=v ")
    if not value:
        return None, ()
    try:
        Version(value)
    except InvalidVersion:
        return None, (_ignored(key, value, "is no version"),)
    return value, ()


def _python(meta: FrontMatter) -> tuple[str | None, tuple[Finding, ...]]:
    value = _text(meta, "python_version")
    if not value or _PYTHON.fullmatch(value):
        return value or None, ()
    return None, (_ignored("python_version", value, "is no version of Python 3"),)


def _headers(meta: FrontMatter) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """Those of custom_headers that the Hub sends, too. Others are a finding."""
    value = meta.get("custom_headers", {})
    given = {name.lower(): text.lower() for name, text in value.items()} if isinstance(value, dict) else {}
    sent = {name: text for name, text in given.items() if name in _HEADERS and _HEADER_VALUE.fullmatch(text)}
    left = sorted(given.keys() - sent.keys())
    return sent, tuple(_ignored("custom_headers", name, "the Hub does not send") for name in left)


def _build_command(meta: FrontMatter, sdk: Sdk) -> str:
    return clean_line(_text(meta, "app_build_command"))[:1000] if sdk is Sdk.STATIC else ""


def _app_port(meta: FrontMatter) -> tuple[int, tuple[Finding, ...]]:
    value = _text(meta, "app_port")
    if not value:
        return SPACE_PORT, ()
    if value.isascii() and value.isdigit() and 0 < int(value[:6]) < 65_536:
        return int(value), ()
    return SPACE_PORT, (_ignored("app_port", value, "is no port"),)


def _ignored(key: str, value: str, why: str) -> Finding:
    return Finding(
        code="setting-ignored",
        severity=Severity.WARNING,
        message=f"README.md says {key}: {clean_line(value)[:60]}, which {why}; it is ignored.",
        remedy=f"Correct {key} in the front matter of README.md" + (", or use --python." if key[0] == "p" else "."),
    )


def _base_path(meta: FrontMatter) -> str:
    value = clean_line(_text(meta, "base_path"))[:500]
    return value if value.startswith("/") and not value.startswith("//") else ""


def _duration(text: str) -> float | None:
    """Seconds of "1h", "30m", "1h 30m" or "90"; None for anything else."""
    parts = _DURATION.findall(text.lower())
    if not parts or _DURATION.sub("", text.lower()).strip():
        return None
    return min(max(sum(float(number) * _UNITS[unit] for number, unit in parts), 1.0), LONGEST_TIMEOUT_S)


# The app file


def _app_file(meta: FrontMatter, sdk: Sdk, root: Path) -> str:
    if sdk is Sdk.DOCKER:
        return _existing(root, "Dockerfile", sdk)
    given = _text(meta, "app_file")
    if given and _build_command(meta, sdk):
        return _made(root, given, sdk)
    if given:
        return _existing(root, given, sdk)
    default = sdks.of(sdk).app_file
    if not (root / default).is_file() and not meta:
        launching = [path.name for path in _root_scripts(root) if b"launch" in _peek(path)]
        if len(launching) == 1:
            return launching[0]
    return _existing(root, default, sdk)


def _existing(root: Path, name: str, sdk: Sdk) -> str:
    """`name` relative to the root, without `./`. Raises NoAppFile when it is not a file inside the tree."""
    path = root / name.lstrip("/").replace("\\", "/") if "\x00" not in name else root / "\ufffd"
    if not _within(root, path) or not is_file(path):
        reason = "leads out of the Space" if not _within(root, path) else "is not in the Space"
        raise _no_app_file(root, clean_line(name)[:200], reason, sdk)
    return PurePosixPath(path.relative_to(root)).as_posix() if ".." not in path.parts else _normal(root, path)


def _made(root: Path, name: str, sdk: Sdk) -> str:
    """`name` relative to the root, of a file that the build is to make. Raises NoAppFile where it leads out."""
    path = PurePosixPath(name.lstrip("/").replace("\\", "/"))
    if ".." in path.parts or "\x00" in name or not _within(root, root / path):
        raise _no_app_file(root, clean_line(name)[:200], "leads out of the Space", sdk)
    return path.as_posix()


def _normal(root: Path, path: Path) -> str:
    return path.resolve().relative_to(root.resolve()).as_posix()


def _no_app_file(root: Path, asked: str, reason: str, sdk: Sdk) -> NoAppFile:
    """With the files that could be meant instead as its lines."""
    suffix = ".html" if sdk is Sdk.STATIC else ".py"
    found = [clean_line(path.relative_to(root).as_posix())[:100] for path in _candidates(root, suffix)]
    more = (f"and {len(found) - _SHOWN} more",) if len(found) > _SHOWN else ()
    hint = f"Set app_file in the front matter of README.md. Files that could be meant: {', '.join(found[:6])}."
    if not found:
        hint = f"The Space has no {suffix} file to start; check that this is the right repository and revision."
    there = tuple(f"there is: {name}" for name in found[:_SHOWN]) or (f"there is: no {suffix} file",)
    return NoAppFile(f"The app file {asked} {reason}.", hint=hint, lines=(f"asked for: {asked}", *there, *more))


def _candidates(root: Path, suffix: str) -> list[Path]:
    """Files of the two top levels, those that launch something first."""
    found = [path for path in sorted([*root.glob(f"*{suffix}"), *root.glob(f"*/*{suffix}")])[:200] if path.is_file()]
    return sorted(found, key=lambda path: b".launch" not in _peek(path))


def _root_scripts(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*.py"))[:50]:
        if path.is_file() and _within(root, path):
            yield path


def _peek(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEEK_BYTES)
    except OSError:
        return b""


def _within(root: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name that no file can have
        return False
