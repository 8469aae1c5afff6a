"""gradio_client as old as Gradio 3, which the newest one does not speak to: `Unknown protocol: ws`.

It needs old packages beside it, so it has an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.support.environments import interpreter

REQUIREMENTS = ("gradio_client==0.6.1", "httpx==0.27.2", "huggingface_hub==0.36.2")  # what Gradio 3.50.2 asks for
SCRIPT = """
import json, sys
from gradio_client import Client
told = json.load(sys.stdin)
client = Client(told["url"], verbose=False)
json.dump(client.predict(*told["args"], api_name=told["api_name"]), sys.stdout)
"""


def predict(url: str, args: list[Any], api_name: str) -> Any:
    """What the named endpoint of a Gradio 3 app without a login returns; the client of that time knows of none."""
    told = json.dumps({"url": url, "args": args, "api_name": api_name})
    command = [str(interpreter("client", REQUIREMENTS)), "-c", SCRIPT]
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
