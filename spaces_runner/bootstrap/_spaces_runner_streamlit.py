"""Tells the runner how the first run of a Streamlit script ended: its page answers whatever becomes of the script.

Loaded by `_spaces_runner` with Streamlit's script runner. Standard library only, for Python 3.7 and newer.

Streamlit's own AppTest would run the script apart from its server, so a second time, and is there since 1.28 only; this
watches the run that a visitor causes, in every version since 1.0.
"""

import threading
import traceback

from _spaces_runner import LONGEST, ask, replaces

# Where errors of a script are handed to, by the names that the modules which run it know.
HANDLERS = ("handle_user_script_exception", "handle_uncaught_app_exception")
ENDS = ("SCRIPT_STOPPED_WITH_SUCCESS", "SCRIPT_STOPPED_WITH_COMPILE_ERROR")  # the first after an exception, too
LAST_LINES = 40
RAISED = "_spaces_runner_raised"  # of the thread that a script runs in
TOLD = []  # once is enough: after that the errors are its visitors'


def patch(module):
    for name in HANDLERS:
        if hasattr(module, name):
            note_errors(module, name)
    if hasattr(module, "ScriptRunner"):
        listen(module.ScriptRunner)


def note_errors(module, name):
    @replaces(module, name)
    def handle(handle, error, *args, **kwargs):
        note(error)
        return handle(error, *args, **kwargs)


def listen(cls):
    @replaces(cls, "__init__")
    def init(init, self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.on_event.connect(ended, weak=False)


def note(error):
    setattr(threading.current_thread(), RAISED, error)


def ended(sender, event=None, exception=None, **more):
    """An event of a script's run, in the thread of the script."""
    if getattr(event, "name", "") not in ENDS or TOLD:
        return
    TOLD.append(event)
    error = exception or vars(threading.current_thread()).get(RAISED)
    ask("script", lines=told(error) if error else [])


def told(error):
    """The traceback as lines, from the script's own frames on."""
    frames = error.__traceback__
    while frames is not None and "/streamlit/" in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    return [line[:LONGEST] for line in text.splitlines()][-LAST_LINES:]
