"""Environments made for real, by uv and from the package index."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import environment
from spaces_runner.errors import BuildError, PackagesTooLarge, Unresolvable, WheelBuildFailed
from spaces_runner.settings import Settings
from spaces_runner.types import Environment, Progress, ResolvedHow, RunOptions
from tests.support.spaces_env import ROOT, SPACE_USER, TinySpace, named, run_as_space, sdist, wheel

pytestmark = pytest.mark.network_index

as_root = pytest.mark.skipif(not ROOT, reason="only root runs Spaces as users of their own")


@pytest.mark.parametrize(
    ("gradio", "python"), [("6.31.0", "3.11"), ("5.49.1", "3.10"), ("4.44.1", "3.10"), ("3.50.2", "3.10")]
)
def test_gradio_of_every_age_is_imported_by_the_spaces_user(
    shared_settings: Settings, gradio: str, python: str
) -> None:
    space = TinySpace(settings=shared_settings, name=f"age-{gradio}", gradio=gradio, python=python)
    built = space.build()
    own = space.python_of(built)
    code = "import gradio, sys; print(gradio.__version__, '_spaces_runner' in sys.modules, sys.prefix)"
    answer = run_as_space([str(own), "-W", "ignore", "-c", code], own)
    assert answer.stdout.split() == [gradio, "True", str(own.parents[1])], answer.stderr
    assert built.resolution.how is ResolvedHow.JOINT


def test_a_second_space_takes_the_environment_that_stands(shared_settings: Settings) -> None:
    first = TinySpace(settings=shared_settings, name="first", requirements="requests\n")
    built = first.build()
    second = named(first, "second")
    begun = time.perf_counter()
    again = second.build()
    print(f"second Space, same requirements: {time.perf_counter() - begun:.3f} s")
    assert again.reused and again.prefix == built.prefix
    assert second.log == ["The requirements were resolved before"]
    assert environment.stands(built.resolution, shared_settings)


def test_one_requirement_more_costs_little_time_and_disk(shared_settings: Settings) -> None:
    first = TinySpace(settings=shared_settings, name="first", requirements="requests\n").build()
    more = TinySpace(settings=shared_settings, name="more", requirements="requests\ncowsay==6.1\n")
    begun = time.perf_counter()
    built = more.build()
    print(f"second Space, one requirement more: {time.perf_counter() - begun:.3f} s")
    alone, both = disk_usage(first.prefix), disk_usage(first.prefix, built.prefix)
    assert not built.reused
    assert both - alone < 0.2 * alone


def disk_usage(*paths: str) -> int:
    answer = subprocess.run(["du", "-sck", *paths], capture_output=True, text=True, check=True)
    return int(answer.stdout.splitlines()[-1].split()[0])


def test_byte_code_is_there_and_valid(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, name="first", requirements="requests\n")
    own = space.python_of(space.build())
    answer = run_as_space([str(own), "-v", "-c", "import requests.adapters"], own)
    assert "requests/__pycache__/adapters.cpython-311.pyc matches" in answer.stderr
    assert "code object from" in answer.stderr


@as_root
def test_an_environment_belongs_to_the_runner(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, name="first", requirements="requests\n")
    built = space.build()
    own = space.python_of(built)
    answer = run_as_space(["find", built.prefix, "!", "-type", "l", "-writable"], own)
    assert (answer.stdout, answer.returncode) == ("", 0)
    everything = run_as_space(["find", built.prefix, "!", "-type", "l", "!", "-readable"], own)
    assert everything.stdout == ""


def test_what_is_resolved_anew_is_asked_anew(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, name="first", requirements="requests\n")
    space.resolve()
    space.log.clear()
    space.resolve(RunOptions(refresh=True))
    assert any("joint" in line for line in space.log)


def test_a_contradicting_gradio_pin_gives_way_to_sdk_version(shared_settings: Settings) -> None:
    resolution = TinySpace(settings=shared_settings, requirements="gradio==4.44.0\nrequests\n").resolve()
    assert resolution.how is ResolvedHow.LEGACY
    assert "gradio==6.31.0" in resolution.packages
    assert "requests" in " ".join(resolution.packages)
    finding = next(found for found in resolution.findings if found.code == "resolved-legacy")
    assert "4.44.0" in finding.message


def test_requirements_that_contradict_gradio_are_installed_in_the_older_order(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, requirements="pydantic==1.10.2\ncowsay==6.0\n")
    resolution = space.resolve()
    assert resolution.how is ResolvedHow.LEGACY
    assert {"gradio==6.31.0", "cowsay==6.0"} <= set(resolution.packages)  # the pin that does not hurt is kept
    assert not any(package.startswith("pydantic==1.") for package in resolution.packages)


def test_an_old_space_gets_the_packages_of_its_time(shared_settings: Settings) -> None:
    space = TinySpace(
        settings=shared_settings,
        gradio="3.50.2",
        python="3.10",
        committed_at="2023-11-20T10:00:00+00:00",
        commit="a" * 40,
    )
    resolution = space.resolve()
    assert resolution.how is ResolvedHow.AS_OF_DATE
    assert resolution.exclude_newer == "2023-11-20T10:00:00+00:00"
    versions = dict(package.split("==") for package in resolution.packages)
    assert versions["numpy"].startswith("1.26.")
    assert "resolved-as-of-date" in [finding.code for finding in resolution.findings]


def test_a_date_before_gradios_release_is_moved_behind_it(shared_settings: Settings) -> None:
    space = TinySpace(
        settings=shared_settings,
        gradio="3.50.2",
        python="3.10",
        committed_at="2023-01-01T00:00:00+00:00",
        commit="b" * 40,
    )
    resolution = space.resolve()
    assert (resolution.exclude_newer or "").startswith("2023-10-20")  # released on the 19th
    assert "gradio==3.50.2" in resolution.packages


def test_a_python_with_wheels_is_chosen_where_nobody_asked_for_one(shared_settings: Settings) -> None:
    resolution = TinySpace(settings=shared_settings, python=None, requirements="numpy==1.26.4\n").resolve()
    assert not resolution.python_version.startswith("3.13")  # for which this numpy has no wheel
    assert "numpy==1.26.4" in resolution.packages


@pytest.mark.parametrize(
    ("requirements", "gradio", "words"),
    [
        ("no-such-package-anywhere-8472\n", "6.31.0", "which the package index does not have"),
        ("requests==2.31.0\nrequests==2.32.3\n", "6.31.0", "do not fit together"),
        ("requests\n", "6.999.0", "There is no Gradio 6.999.0"),
    ],
)
def test_what_cannot_be_resolved_says_why(
    shared_settings: Settings, requirements: str, gradio: str, words: str
) -> None:
    with pytest.raises(Unresolvable, match=words) as caught:
        TinySpace(settings=shared_settings, requirements=requirements, gradio=gradio).resolve()
    assert caught.value.lines and caught.value.hint
    assert not any("warning:" in line for line in caught.value.lines)


def test_an_index_out_of_reach_is_no_conflict(settings: Settings) -> None:
    offline = replace(settings, index_url="http://127.0.0.1:9/simple", extra_index_urls=(), find_links=())
    with pytest.raises(Unresolvable, match="could not be reached"):
        TinySpace(settings=offline, requirements="no-such-package-anywhere-8472\n").resolve()


HOSTILE = """
import json, os, pathlib
def attempt(action):
    try:
        return str(action())
    except OSError as error:
        return type(error).__name__
report = {
    "uid": os.getuid(),
    "groups": os.getgroups(),
    "secret": attempt(lambda: pathlib.Path(SECRET).read_text()),
    "cache": attempt(lambda: pathlib.Path(CACHE, "planted").write_text("x")),
    "environments": attempt(lambda: pathlib.Path(ENVIRONMENTS, "planted").write_text("x")),
    "checkout": attempt(lambda: pathlib.Path(CHECKOUT, "planted").write_text("x")),
    "variables": [name for name in os.environ if "TOKEN" in name or name == "OWNERS_VARIABLE"],
}
with open("NAME.py", "a") as module:
    module.write("REPORT = %r\\n" % json.dumps(report))
"""


def hostile(name: str, space: TinySpace, secret: Path) -> str:
    places = {
        "SECRET": str(secret),
        "CACHE": str(space.settings.uv_cache_dir),
        "ENVIRONMENTS": str(space.settings.environments_dir),
        "CHECKOUT": str(space.root / "app"),
    }
    return "".join(f"{key} = {value!r}\n" for key, value in places.items()) + HOSTILE.replace("NAME", name)


@as_root
@pytest.mark.parametrize("where", ["index", "archive", "project"])
def test_source_packages_are_built_as_the_space(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whether found on an index, or in the Space as an archive or as a project."""
    monkeypatch.setenv("OWNERS_VARIABLE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    shelf, secret = settings.home_dir / "shelf", settings.home_dir / "secret"
    shelf.mkdir()
    secret.write_text("the owner's")
    secret.chmod(0o600)
    name = f"srtest_{where}"
    settings = replace(settings, find_links=(*settings.find_links, str(shelf)))
    space = TinySpace(settings=settings, name=f"src-{where}")
    source = hostile(name, space, secret)
    if where == "index":
        (shelf / f"{name}-1.0.tar.gz").write_bytes(sdist(name, source))
        space.requirements = f"{name}\n"
    elif where == "archive":
        space.files = {f"deps/{name}-1.0.tar.gz": sdist(name, source)}
        space.requirements = f"./deps/{name}-1.0.tar.gz\n"
    else:
        setup = f"{source}\nfrom setuptools import setup\nsetup(name={name!r}, version='1.0', py_modules=[{name!r}])\n"
        space.files = {"deps/setup.py": setup.encode(), f"deps/{name}.py": b""}
        space.requirements = "-e ./deps\n"
    built = space.build()
    report = reported(space, built, name)
    assert report["uid"] == (SPACE_USER.uid if SPACE_USER else os.getuid())
    assert report["groups"] == []
    assert report["variables"] == []
    denied = {report[key] for key in ("secret", "cache", "environments", "checkout")}
    assert denied == {"PermissionError"}
    assert "built-from-source" in [finding.code for finding in built.resolution.findings]
    assert not environment.stands(built.resolution, settings)  # for anyone but this Space


def reported(space: TinySpace, built: Environment, name: str) -> dict[str, object]:
    import json

    own = space.python_of(built)
    answer = run_as_space([str(own), "-c", f"import {name}; print({name}.REPORT)"], own)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_what_a_space_built_is_given_to_no_other(settings: Settings) -> None:
    shelf = settings.home_dir / "shelf"
    shelf.mkdir()
    (shelf / "srtest_plain-1.0.tar.gz").write_bytes(sdist("srtest_plain", ""))
    settings = replace(settings, find_links=(*settings.find_links, str(shelf)))
    one = TinySpace(settings=settings, name="one", requirements="srtest_plain\n")
    resolution = one.resolve()
    two = named(one, "two")
    fingerprints = {
        environment.fingerprint(resolution, space_id=space.name, commit=space.commit) for space in (one, two)
    }
    assert len(fingerprints) == 2
    other_commit = replace(two, commit="d" * 40)
    other_commit.resolve()
    assert "The requirements were resolved before" not in other_commit.log


def test_a_wheel_of_the_space_is_installed_for_it_alone(shared_settings: Settings) -> None:
    space = TinySpace(
        settings=shared_settings,
        name="own-wheel",
        requirements="./wheels/own_thing-1.0-py3-none-any.whl\n",
        files={"wheels/own_thing-1.0-py3-none-any.whl": wheel("own_thing", "1.0", "ANSWER = 42\n")},
    )
    built = space.build()
    own = space.python_of(built)
    answer = run_as_space([str(own), "-c", "import own_thing; print(own_thing.ANSWER)"], own)
    assert answer.stdout.strip() == "42"
    assert not environment.stands(built.resolution, shared_settings)
    told = [(event.what, event.unit, event.total) for event in space.events if isinstance(event, Progress)]
    packages = len(built.resolution.packages)
    assert ("", "packages", packages) in told
    assert told[-1][:2] == (f"compiling {packages} packages", "modules")


@pytest.mark.parametrize("line", ["./wheels/srtest_same-1.0-py3-none-any.whl", "--find-links ./wheels\nsrtest_same"])
def test_another_spaces_wheel_of_the_same_name_is_another_one(settings: Settings, line: str) -> None:
    def resolved(name: str, requires: str) -> tuple[str, ...]:
        files = {"wheels/srtest_same-1.0-py3-none-any.whl": wheel("srtest_same", "1.0", "", requires=requires)}
        space = TinySpace(settings=settings, name=name, requirements=f"{line}\n", files=files, commit=name * 40)
        return space.resolve().packages

    first, second = resolved("a", "cowsay==6.1"), resolved("b", "iniconfig==2.0.0")
    assert "cowsay==6.1" in first
    assert "iniconfig==2.0.0" in second
    assert "cowsay==6.1" not in second


def test_a_package_that_cannot_be_built_says_why(settings: Settings) -> None:
    shelf = settings.home_dir / "shelf"
    shelf.mkdir()
    (shelf / "srtest_broken-1.0.tar.gz").write_bytes(
        sdist("srtest_broken", "import sys\nif 'bdist_wheel' in sys.argv: sys.exit('fatal error: Python.h: not found')")
    )
    settings = replace(settings, find_links=(*settings.find_links, str(shelf)))
    with pytest.raises(WheelBuildFailed, match="srtest-broken") as caught:
        TinySpace(settings=settings, requirements="srtest_broken\n").build()
    assert any("Python.h" in line for line in caught.value.lines)
    assert "python3-dev" in caught.value.hint
    assert half_built(settings) == []


PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "whole-space"
version = "1.0"
[tool.setuptools]
py-modules = ["whole"]
"""


@pytest.mark.parametrize("line", [".", "-e ."])
def test_the_space_itself_is_installed(settings: Settings, line: str) -> None:
    files = {"pyproject.toml": PROJECT.encode(), "whole.py": b"VALUE = 42\n"}
    space = TinySpace(settings=settings, requirements=f"{line}\n", files=files)
    own = space.python_of(space.build())
    assert run_as_space([str(own), "-c", "import whole; print(whole.VALUE)"], own).stdout == "42\n"


def test_a_disk_that_is_too_small_for_packages(settings: Settings) -> None:
    with pytest.raises(PackagesTooLarge) as caught:
        TinySpace(settings=replace(settings, disk_floor_bytes=1 << 60)).build()
    assert "MB are free" in caught.value.message
    assert "SPACES_RUNNER_HOME" in caught.value.hint
    assert half_built(settings) == []


BROKEN_SETUPS = {
    "raises": ("raise RuntimeError('no luck')\n", 'File "setup.py", line 3', "RuntimeError: no luck", "Correct it"),
    "imports": ("import numpy\n", 'File "setup.py", line 3', "No module named 'numpy'", "build-system.requires"),
    "compiles": (
        "setup(name='b', version='1', ext_modules=[Extension('b', ['b.c'])])\n",
        "b.c:1:10: fatal error: nothing_here.h",
        "Failed to build `b @ ./libs/own`",
        "Correct it",
    ),
}


@pytest.mark.parametrize("how", BROKEN_SETUPS)
def test_a_project_of_the_space_that_cannot_be_built_is_named(settings: Settings, how: str) -> None:
    code, line, cause, hint = BROKEN_SETUPS[how]
    setup = f"from setuptools import Extension, setup\n\n{code}"
    files = {"libs/own/setup.py": setup.encode(), "libs/own/b.c": b"#include <nothing_here.h>\n"}
    with pytest.raises(WheelBuildFailed) as caught:
        TinySpace(settings=settings, requirements="./libs/own\n", files=files).build()
    error = caught.value
    assert error.message == "./libs/own, which the Space brings itself, could not be built."
    assert hint in error.hint
    text = "\n".join(error.lines)
    assert line in text and cause in text
    assert "build_meta.py" not in text, "the backend's own frames"
    assert "/src/0/" not in text, "where it was built"
    assert half_built(settings) == []


def half_built(settings: Settings) -> list[str]:
    if not settings.environments_dir.is_dir():
        return []
    return [path.name for path in settings.environments_dir.iterdir() if path.name.endswith(".part")]


BUILDER = """
import sys
from dataclasses import replace
from pathlib import Path
from spaces_runner.settings import read_settings
from tests.support.spaces_env import TinySpace
TinySpace(settings=read_settings({"SPACES_RUNNER_HOME": sys.argv[1], **dict(__import__("os").environ)})).build()
"""


def test_a_build_that_is_killed_leaves_nothing_that_is_used(settings: Settings) -> None:
    space = TinySpace(settings=settings)
    resolution = space.resolve()
    env = {**os.environ, "SPACES_RUNNER_HOME": settings.home}
    child = subprocess.Popen([sys.executable, "-c", BUILDER, settings.home], env=env, start_new_session=True)
    deadline = time.monotonic() + 60
    while not half_built(settings):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not environment.stands(resolution, settings)
    assert half_built(settings)
    built = space.build(resolution)
    assert not built.reused
    assert half_built(settings) == []
    own = space.python_of(built)
    assert run_as_space([str(own), "-c", "import gradio"], own).returncode == 0


def test_many_builders_make_one_environment(settings: Settings) -> None:
    space = TinySpace(settings=settings)
    resolution = space.resolve()
    space.checkout()
    results: list[Environment] = []

    def build(number: int) -> None:
        results.append(named(space, f"builder-{number}").build(resolution))

    threads = [threading.Thread(target=build, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 20
    assert [result.reused for result in results].count(False) == 1
    assert len({result.prefix for result in results}) == 1


def test_prune_removes_what_nobody_keeps(settings: Settings) -> None:
    space = TinySpace(settings=settings)
    built = space.build()
    assert environment.prune(settings, set()) == ()  # it was taken a moment ago
    assert environment.prune(settings, {built.fingerprint}, young_s=0) == ()
    assert environment.prune(settings, set(), young_s=0) == (built.fingerprint,)
    assert not Path(built.prefix).exists()
    assert not space.build(built.resolution).reused


def test_a_wheel_cannot_write_outside_its_environment(shared_settings: Settings) -> None:
    target = shared_settings.home_dir / "escaped.py"
    name = "srtest_escape-1.0-py3-none-any.whl"
    escape = wheel("srtest_escape", "1.0", "").replace(b"srtest_escape.py", b"../../../../e.py")
    space = TinySpace(
        settings=shared_settings, name="escape", requirements=f"./{name}\n", files={name: escape}, commit="e" * 40
    )
    with pytest.raises(BuildError):
        space.build()
    assert not target.exists()
    assert list(shared_settings.home_dir.glob("**/e.py")) == []
