"""Spaces of a few lines, as source text: each is launched under the Gradio SDK, whose package is a stand-in here."""

from __future__ import annotations

import textwrap

README = "---\nsdk: gradio\nsdk_version: 6.31.0\npython_version: '3.11'\n---\n"

# Tells its secret, whole and in two pieces, as careless programs do: no log may hold it.
TELLING = """
import os, sys, time
secret = os.environ["KEY"]
print("started with", secret, flush=True)
sys.stdout.write("in pieces: " + secret[:9]); sys.stdout.flush(); time.sleep(0.02)
print(secret[9:], flush=True)
"""
SERVING = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(3)
        if self.path == "/talk":
            print("x" * 70, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
HONEST = TELLING + SERVING
SLOW = TELLING + "time.sleep(1.5)\n" + SERVING
# How a child leaves its parents: it is nobody's any more, in a session of its own, and deaf to TERM.
AWAY = textwrap.dedent("""
    import signal, subprocess
    def away(body, **options):
        code = "import os, signal, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
        code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n" + body
        subprocess.run([sys.executable, "-S", "-c", code], **options)
    """)
WITH_A_DAEMON = TELLING + AWAY + "away('time.sleep(300)')\n" + SERVING
# Deaf itself, with daemons, one of them without the run's mark, and one that prints all the time.
NASTY = (
    TELLING
    + AWAY
    + textwrap.dedent("""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    away("time.sleep(300)")
    away("time.sleep(300)", env={})
    away("while True: os.write(1, b'spew ' * 13000 + b'\\\\n')")
    """)
    + SERVING
)
# Takes memory until somebody stops it.
GREEDY = TELLING + "held = []\nwhile True:\n    held.append(bytearray(4_000_000)); time.sleep(0.005)\n"
# As torch says it, without torch.
CUDA = TELLING + textwrap.dedent("""
    class OutOfMemoryError(RuntimeError):
        pass
    OutOfMemoryError.__module__ = "torch"
    raise OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.19 GiB is"
        " free."
    )
    """)


def ending(how: str) -> str:
    """An app that serves for half a second, then ends so, in every life."""
    return TELLING + f"import threading\nthreading.Timer(0.5, lambda: {how}).start()\n" + SERVING
