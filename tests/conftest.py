"""The shared parts of the tests."""

pytest_plugins = [
    "tests.support.home",
    "tests.support.hub",
    "tests.support.share",
    "tests.support.browser",
    "tests.support.shims",
]
