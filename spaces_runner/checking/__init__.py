"""Runs many Spaces, one call each, and says of every one how it went: the report that the runner is measured by.

`plan` (which, and how many at once) → `one` (start, wait, ask, remove) → `ask` (its page, one call) → `table`.
"""

from spaces_runner.checking.pool import check as check
from spaces_runner.checking.values import Call as Call
from spaces_runner.checking.values import Failure as Failure
from spaces_runner.checking.values import Order as Order
from spaces_runner.checking.values import Result as Result
from spaces_runner.checking.values import Verdict as Verdict
