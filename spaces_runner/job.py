"""What a face hands to a shim, and a shim to its pipeline, on standard input: never a file, never an argument."""

from __future__ import annotations

from dataclasses import dataclass

from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, Sandbox, SpaceRef, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one Space. `settings` carries the Hub token; a shim drops it once the pipeline has it.

    `sandbox` None: the run reaches what its user does, as its owner wants it, or as it is the owner's own program.
    """

    space_id: str
    run_id: str
    ref: SpaceRef
    options: RunOptions
    settings: Settings
    user: User | None = None
    sandbox: Sandbox | None = None
