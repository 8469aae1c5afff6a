"""Names of environment variables that mean something to the runner in a Space's processes."""

from __future__ import annotations

MARK = "SPACES_RUNNER_RUN"  # the run's id; every process of its family carries it
SOCKET = "SPACES_RUNNER_SOCKET"  # where the bootstrap finds the shim
# Ours alone, whatever an owner asks for: with the first two changed a Space would leave its family, and with the
# others its Gradio would believe that the Hub runs it, and refuse to share.
RESERVED = (SOCKET, MARK, "SYSTEM", "SPACES_ZERO_GPU")
