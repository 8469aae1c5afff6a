"""The shared parts of the tests."""

import signal

pytest_plugins = [
    "tests.support.home",
    "tests.support.hub",
    "tests.support.podman",
    "tests.support.share",
    "tests.support.browser",
    "tests.support.shims",
]


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
