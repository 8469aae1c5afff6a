"""What the cell hears: a line of JSON for each message, to the kernel that started this program."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from spaces_runner.types import SpaceStatus


class Tell:
    """`descriptor` is where the kernel reads. Once that is gone, there is nobody to work for: SystemExit."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor

    def line(self, text: str) -> None:
        self._write(kind="line", text=text)

    def links(self, status: SpaceStatus, native: str | None, platform: str) -> None:
        """Where the Space answers. `native`: the platform's own link to it."""
        self._write(kind="links", local=status.local_url, public=status.share_url, native=native, platform=platform)

    def left(self, text: str) -> None:
        """How long the platform leaves this machine: in place of what was said of it before."""
        self._write(kind="left", text=text)

    def core(self, url: str, token: str, preset: str) -> None:
        self._write(kind="core", url=url, token=token, preset=preset)

    def failed(self, lines: Iterable[str]) -> None:
        """The last message of a program that fails."""
        self._write(kind="failed", text="\n".join(lines))

    def _write(self, **message: object) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except BrokenPipeError:
            raise SystemExit(0) from None
