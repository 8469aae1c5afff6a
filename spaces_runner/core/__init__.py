"""The inference core beside the Spaces: one service, under a shim like theirs, that Spaces can be given models of.

`service` finds and starts it, `plan` is how, `keys` is who may call it, `link` gives a Space one of its models, `room`
has it make room on a GPU for a Space. It is known by its command and its HTTP API alone: nothing here imports it.
"""

from spaces_runner.core.plan import Command, own_checkout
from spaces_runner.core.service import CoreStatus, ensure, log_follow, log_tail, status, stop

__all__ = ["Command", "CoreStatus", "ensure", "log_follow", "log_tail", "own_checkout", "status", "stop"]
