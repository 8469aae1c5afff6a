"""What a program may ask for that has a key of the owner's: the models, and nothing of the pages. Knows no models.

A key is listed and revoked by its name; the core counts by that name, too, so that one program keeps no other waiting.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from app.inference.errors import Forbidden, InferenceError, Overloaded, Unauthorized
from app.inference.server.keys import KeyFile
from app.playground.errors import TooFast
from app.playground.rates import Rate, Rates
from spaces_runner.core.keys import PROGRAM, TOKEN

METRICS = "/metrics"
_MODEL = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_READ = re.compile(rf"/v1/models(/{_MODEL})?|/tgi/{_MODEL}/(info|health)")
_WRITE = re.compile(rf"/v1/(chat/)?completions|/tgi/{_MODEL}(/(generate|generate_stream)?)?")
_ADVICE = "The owner makes one, in the page's tab Access or by spaces-runner core key add NAME."


def of_core(path: str) -> bool:
    """Whether the core answers at `path`, in the words of its protocols."""
    return path == METRICS or path.startswith(("/v1/", "/tgi/"))


def is_key(token: str) -> bool:
    """Whether `token` has a key's form. Nobody guesses one, so wrong ones need not be counted."""
    return TOKEN.fullmatch(token) is not None


def _rates() -> Rates:
    return Rates(each=Rate(burst=120, per_minute=600), together=Rate(burst=480, per_minute=2400))


@dataclass(slots=True)
class Programs:
    """`keys`: the file in which the core keeps its callers; None where there is no such file."""

    keys: KeyFile | None = None
    rates: Rates = field(default_factory=_rates)

    def admit(self, method: str, path: str, token: str) -> str:
        """The name of the program with this key, one more request of which is counted.

        Raises Unauthorized, Forbidden, Overloaded, KeysUnreadable.
        """
        caller = self.keys.find(token) if self.keys else None
        if caller is None or not caller.name.startswith(PROGRAM):
            raise Unauthorized("This key opens nothing here.", hint=f"It may have been revoked. {_ADVICE}")
        if method == "POST" and _WRITE.fullmatch(path):
            self._count(caller.name)
        elif method not in ("GET", "HEAD") or not _READ.fullmatch(path):
            raise Forbidden("A key asks the models at /v1 and /tgi, and nothing else.")
        return caller.name

    def _count(self, name: str) -> None:
        try:
            self.rates.take(name)
        except TooFast as error:
            wait = max(1, math.ceil(error.retry_after))
            raise Overloaded("Programs may not ask so often.", retry_after=wait) from error


def refusal(*, wrong: bool, wait_s: float) -> InferenceError:
    """What a program is told that has neither a key nor the owner's token."""
    if wait_s:
        return Overloaded("Too many wrong tokens.", retry_after=math.ceil(wait_s))
    if wrong:
        return Unauthorized("This token opens nothing here.", hint=_ADVICE)
    return Unauthorized("This needs a key.", hint=f"Send it as a header: Authorization: Bearer KEY. {_ADVICE}")
