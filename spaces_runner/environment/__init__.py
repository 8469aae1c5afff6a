"""SpaceSpec -> Environment: resolve by uv, then build once per fingerprint.

`resolve` asks for the exact packages, `build` makes the directory that holds them. Knows nothing of the app.
"""

from __future__ import annotations

from spaces_runner.environment.bare import bare
from spaces_runner.environment.build import build, fingerprint, private, stands
from spaces_runner.environment.prune import prune
from spaces_runner.environment.resolve import makeshift, resolve

__all__ = ["bare", "build", "fingerprint", "makeshift", "private", "prune", "resolve", "stands"]
