"""What is asked of a check, and what it says of one Space. Frozen; they are what a file of results holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from spaces_runner.types import RunOptions

TIMEOUT_S = 1800.0  # for one Space, from its start to the answer of its call: the Hub's own patience


class Verdict(StrEnum):
    STARTED = "started"  # its page answered 200, and so did what was called, if anything could be
    CALL_FAILED = "call failed"  # its page answered 200, and no call did
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How each Space is to be run. `jobs` None: as many at once as this machine has room for."""

    options: RunOptions = field(default_factory=lambda: RunOptions(share=False))
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    jobs: int | None = None
    timeout_s: float = TIMEOUT_S
    keep: bool = False  # what was run is stopped and not removed, so that its logs can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call of a Gradio app. `endpoint` is "" where there was none to call, and `note` says why."""

    endpoint: str
    answered: bool
    note: str = ""  # where its inputs come from; or what went wrong
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The class of a failure: the error's code, where it was met, and the cause that its log tells, "" if none."""

    error: str
    stage: str
    step: str = ""
    cause: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one Space fared. What is not known is "", or 0."""

    space: str  # as it was asked for
    verdict: Verdict
    seconds: float  # from the start of the run until its page answered, or it failed
    commit: str = ""
    sdk: str = ""
    sdk_version: str = ""
    python_version: str = ""
    how: str = ""  # the rung of the ladder on which its packages resolved
    needed: tuple[str, ...] = ()  # what apt installed, and the codes of all that was found
    call: Call | None = None  # None: it is no Gradio app, or never answered
    failure: Failure | None = None
    at: str = ""  # when it ended, ISO 8601 in UTC
