"""`python -m tests.fuzz PARSER [libFuzzer options and corpora]`: one parser under atheris, until it fails or is ended.

See docs/fuzzing.md. `scripts/fuzz` brings atheris along.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["spaces_runner", "app"]):
    from tests.fuzz.targets import TARGETS

LIMITS = ("-max_len=16384", "-timeout=5")


def main() -> None:
    name, *options = sys.argv[1:] or [""]
    if name not in TARGETS:
        sys.exit(f"Which parser? One of: {', '.join(TARGETS)}")
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *LIMITS, *options], target)
    atheris.Fuzz()


main()
