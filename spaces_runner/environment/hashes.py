"""`--hash` lines of requirements: a lock may only name files that they allow (pure). uv itself locks past them.

Only SHA-256 is compared, which is what package indexes tell.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

_LINE = re.compile(r"([A-Za-z0-9][\w.-]*)[^#]*?\s--hash=")
_SHA256 = re.compile(r"--hash=sha256:([0-9a-fA-F]{64})(?!\w)")

Allowed = Mapping[str, frozenset[str]]


def allowed(lines: Iterable[str]) -> Allowed:
    """The digests that requirement lines allow, by package; those that name none are not in it."""
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        match, digests = _LINE.match(line), _SHA256.findall(line)
        if match and digests:
            name = canonicalize_name(match[1])
            found[name] = found.get(name, frozenset()) | {digest.lower() for digest in digests}
    return found


def others(lock: str, files: Allowed) -> tuple[str, ...]:
    """What of `lock` is none of the `files` that are allowed: "name==version (file)"."""
    entries = tomllib.loads(lock).get("packages", []) if files else []
    return tuple(
        f"{entry['name']}=={entry.get('version', '')} ({wheel.get('url', '').rpartition('/')[2]})"
        for entry in entries
        if entry["name"] in files
        for wheel in entry.get("wheels", [])
        if wheel.get("hashes", {}).get("sha256", "") not in files[entry["name"]]
    )


def told(requirement: str, files: Allowed) -> str:
    """`requirement`, an exact version, with what is allowed for it."""
    name = canonicalize_name(requirement.partition("==")[0])
    return " ".join([requirement, *(f"--hash=sha256:{digest}" for digest in sorted(files.get(name, ())))])
