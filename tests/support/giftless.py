"""giftless, an LFS server that others wrote: its own environment and process, objects in a directory, no login."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.environments import interpreter

# It names none of what it needs: its makers run it from an image of theirs.
REQUIREMENTS = (
    "giftless==0.6.2",
    "cachetools==8.0.2",
    "cryptography==50.0.2",
    "figcan==0.0.4",
    "flask==3.1.3",
    "flask-classful==0.16.0",
    "flask-marshmallow==1.5.0",
    "importlib-metadata==10.2.0",
    "marshmallow==4.4.0",
    "pyjwt==2.9.0",  # the last that takes tokens without a subject, as giftless writes them
    "python-dateutil==4.0.0",
    "python-dotenv==1.2.4",
    "pyyaml==6.0.4",
    "typing-extensions==4.16.0",
    "webargs==8.7.1",
    "werkzeug==3.1.9",
)
SCRIPT = """
import json, sys
from giftless.app import init_app
from werkzeug.serving import make_server
config = json.load(sys.stdin)
server = make_server("127.0.0.1", 0, init_app(additional_config=config), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def serve_giftless(storage: Path) -> Iterator[str]:
    """The address of a server, while the block runs, of `storage / owner / repository / oid` to everybody."""
    adapter = {"options": {"storage_options": {"path": str(storage)}}}
    config = {"LEGACY_ENDPOINTS": False, "TRANSFER_ADAPTERS": {"basic": adapter}}
    command = [str(interpreter("lfs", REQUIREMENTS)), "-c", SCRIPT]
    with subprocess.Popen(
        command,
        env={"PATH": os.environ["PATH"]},
        cwd=storage,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdin and server.stdout
            json.dump(config, server.stdin)
            server.stdin.close()
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()
