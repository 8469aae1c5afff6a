"""Serves what a script made and did not: a Gradio app that it only exports, or the FastAPI app that one is mounted in.

Loaded by `_spaces_runner` with Gradio. Standard library only, for Python 3.7 and newer.

Only at a script's end is it known that it launches nothing. `threading._shutdown` is what Python calls then, in the
main thread, before it ends anything: `atexit` comes too late, when no thread can be started any more.
"""

import builtins
import os
import sys
import threading

from _spaces_runner import OURS, SOCKET, SPACE_PORT, ask, replaces

NAMES = ("demo", "app", "iface", "interface", "ui", "blocks", "block", "gui")  # first come, first served
LEFT = []  # it said itself that it wants to end


def arm():
    """In the Space's first process alone: what its children make is theirs to launch."""
    if not is_first() or LEFT:
        return
    for owner, name in ((sys, "exit"), (builtins, "exit"), (builtins, "quit")):
        if hasattr(owner, name):
            note_leaving(owner, name)
    LEFT.append(False)

    @replaces(threading, "_shutdown")
    def shutdown(shutdown):
        name, app = exported()
        if app is not None:
            ask("exported", name=name)
            serve(app)
        return shutdown()


def is_first():
    try:
        with open("/proc/%d/environ" % os.getppid(), "rb") as environ:  # noqa: PTH123, UP031  # as in _spaces_runner
            return os.fsencode(SOCKET) not in environ.read()
    except OSError:  # the runner's
        return True


def note_leaving(owner, name):
    @replaces(owner, name)
    def leave(leave, *args):
        LEFT[:] = [True]
        return leave(*args)


def exported():
    """The app's name and itself; None where it was launched, something else serves, or the script failed."""
    failed = hasattr(sys, "last_type") or hasattr(sys, "last_exc")
    if True in LEFT or failed or OURS - {None}:
        return "", None
    made = vars(sys.modules["__main__"])
    for kinds in (kind("fastapi", "FastAPI"), kind("gradio.blocks", "Blocks") or kind("gradio.interface", "Interface")):
        names = [name for name in made if kinds and isinstance(made[name], kinds)]
        named = [name for name in NAMES if name in names] or names
        if named:
            return named[0], made[named[0]]
    return "", None


def kind(module, name):
    """A class that the script has imported, or None."""
    return getattr(sys.modules.get(module), name, None)


def serve(app):
    if hasattr(app, "launch"):
        app.launch()
    else:
        import uvicorn

        uvicorn.run(app, host="127.0.0.1", port=SPACE_PORT)
