"""How long the platform leaves this machine. Pure but for the start of the machine's first process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from spaces_runner.format import duration

NEAR_S = 300.0  # in which it is said once that the end is near
STEP_S = 30.0  # between two values that are shown; a minute before the end it is every few seconds
LAST_STEP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Countdown:
    """`ends`: seconds since the epoch; None where the platform ends nothing."""

    ends: float | None
    platform: str

    def left(self, now: float) -> float | None:
        return None if self.ends is None else self.ends - now

    def near(self, now: float) -> bool:
        left = self.left(now)
        return left is not None and left <= NEAR_S

    def step(self, now: float) -> float:
        """Seconds until the next value is worth showing."""
        return LAST_STEP_S if (left := self.left(now)) is not None and left < 60 else STEP_S

    def text(self, now: float) -> str:
        """ "" where there is no end."""
        left = self.left(now)
        if left is None or self.ends is None:
            return ""
        if left <= 0:
            return f"{self.platform or 'The platform'} may stop this machine at any moment."
        at = datetime.fromtimestamp(self.ends).astimezone().strftime("%H:%M %Z")
        return f"{self.platform or 'The platform'} stops this machine in {duration(left)}, at {at}."


def begin(hours: float | None, platform: str) -> Countdown:
    """From the start of this machine's first process: a container's is the platform's own."""
    import psutil

    ends = None if hours is None else psutil.Process(1).create_time() + hours * 3600
    return Countdown(ends=ends, platform=platform)
