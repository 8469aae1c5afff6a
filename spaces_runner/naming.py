"""What a person calls a Space of this machine -> its id. Pure, but for looking whether a directory exists.

Never a guess: what is named here is stopped and removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from spaces_runner import ref
from spaces_runner.errors import AmbiguousSpace, RefError, UnknownSpace
from spaces_runner.settings import Settings
from spaces_runner.store.records import Space
from spaces_runner.types import RefKind, SpaceRef

_NAMED = 12  # Spaces that a hint lists


def find(text: str, spaces: Sequence[Space], settings: Settings) -> str:
    """The id that `text` is, or else that of the one Space that it means.

    It means what it would mean pasted: an address, `owner/name`, a directory; each with or without a revision. A single
    word can also be the last part of an address, but not of a directory. Raises AmbiguousSpace and UnknownSpace.
    """
    text = text.strip()
    if any(space.id == text for space in spaces):
        return text
    pasted = _parsed(text, settings)
    found = [space for space in spaces if (_is_meant(space.ref, pasted) if pasted else _is_called(space.ref, text))]
    if len(found) == 1:
        return found[0].id
    if found:
        raise AmbiguousSpace(
            f"{text!r} is said of {len(found)} Spaces.",
            hint=f"Say which by its id: {_listed(found)}.",
            lines=tuple(f"{space.id}  {space.ref}" for space in found[:_NAMED]),
        )
    raise UnknownSpace(f"There is no Space {text!r} here.", hint=_hint(text, spaces))


def _parsed(text: str, settings: Settings) -> SpaceRef | None:
    try:
        return ref.parse(text, settings)
    except RefError:
        return None


def _is_meant(there: SpaceRef, pasted: SpaceRef) -> bool:
    same_revision = pasted.revision is None or pasted.revisions == there.revisions
    return (there.kind, there.source) == (pasted.kind, pasted.source) and same_revision


def _is_called(there: SpaceRef, text: str) -> bool:
    """A directory that is gone is still called by its path."""
    if there.kind is RefKind.DIRECTORY:
        return there.source == text.rstrip("/")
    return there.name == text


def _hint(text: str, spaces: Sequence[Space]) -> str:
    near = [space for space in spaces if text and (space.id.startswith(text) or space.ref.name == text)]
    if near:
        return f"Do you mean {_listed(near)}?"
    return f"There are: {_listed(spaces)}." if spaces else "There are none; start one with spaces-runner run."


def _listed(spaces: Sequence[Space]) -> str:
    more = f" and {len(spaces) - _NAMED} more" if len(spaces) > _NAMED else ""
    return ", ".join(space.id for space in spaces[:_NAMED]) + more
