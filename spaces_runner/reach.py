"""Whether anything answers at an address, within a deadline that holds for looking up its name, too."""

from __future__ import annotations

import queue
import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from spaces_runner.settings import Settings


def unreachable(url: str, settings: Settings, timeout_s: float) -> str:
    """Why nothing answers at `url`; "" when something does, be it that it refuses what was asked."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    # A thread of its own, left behind when it hangs: looking up a name has no deadline.
    threading.Thread(target=lambda: answers.put(_knock(url, settings, timeout_s)), daemon=True).start()
    try:
        return answers.get(timeout=timeout_s + 0.5)
    except queue.Empty:
        return "cannot be reached (no answer)"


def _knock(url: str, settings: Settings, timeout_s: float) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "spaces-runner"})
    try:
        context = ssl.create_default_context(cafile=settings.ca_file) if url.startswith("https:") else None
        with urllib.request.urlopen(request, timeout=timeout_s, context=context):
            return ""
    except urllib.error.HTTPError as error:
        return f"answers {error.code}" if error.code >= 500 else ""
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'reason', error)})"


def bare(url: str) -> str:
    """`url` without a name and password that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
