"""What keeps a Space in, as a job and a launch plan carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What keeps Spaces in on this machine, beside a user of their own, and how well: found out by trying to get out.

    `enclosed` by Landlock, `filtered` by seccomp. `open`: what a Space can still do, by the canary's name.
    """

    holds: bool  # enough for a stranger's code
    enclosed: bool
    filtered: bool
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What of this machine's files a Space may reach: `read` (and run), `write`, and nothing else.

    `enclosed` by Landlock, `filtered` by seccomp: what this machine has of the two.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    enclosed: bool
    filtered: bool
