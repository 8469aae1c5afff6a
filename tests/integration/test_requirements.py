"""Requirements as people write them, resolved for real: what must hold and what must fail, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from spaces_runner.environment import makeshift
from spaces_runner.errors import PythonMissing, Unresolvable
from spaces_runner.settings import Settings
from spaces_runner.types import Progress, ResolvedHow, RunOptions, Sdk
from tests.support.index import Index, serving
from tests.support.spaces_env import TinySpace, run_as_space, wheel

pytestmark = pytest.mark.network_index

NOWHERE = "http://127.0.0.1:9"
INICONFIG = "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"  # of the wheel of 2.0.0
OWN = "own_thing-1.0-py3-none-any.whl"
OWN_310 = "own_thing-1.0-cp310-cp310-linux_x86_64.whl"


def wheels(name: str) -> dict[str, bytes]:
    return {f"wheels/{name}": wheel("own_thing", "1.0", "ANSWER = 42\n")}


# requirements.txt, the Space's other files, and what must be among the packages.
HOLDS: dict[str, tuple[str | bytes, dict[str, bytes], set[str]]] = {
    "hashes": (f"iniconfig==2.0.0 \\\n    --hash=sha256:{INICONFIG}\n", {}, {"iniconfig==2.0.0"}),
    "BOM, CRLF and comments": (b"\xef\xbb\xbf# mine\r\niniconfig==2.0.0  # why\r\n\r\n", {}, {"iniconfig==2.0.0"}),
    "an included file": ("-r more/base.txt\n", {"more/base.txt": b"iniconfig==2.0.0\n"}, {"iniconfig==2.0.0"}),
    "constraints": ("iniconfig\n-c limits.txt\n", {"limits.txt": b"iniconfig<2\n"}, {"iniconfig==1.1.1"}),
    "a page of wheels": ("--find-links wheels\nown_thing\n", wheels(OWN), {"own-thing==1.0"}),
    "a further index that is away": (f"--extra-index-url {NOWHERE}/simple\ncowsay==6.1\n", {}, {"cowsay==6.1"}),
    "a page that is away": (f"-f {NOWHERE}/wheels.html\ncowsay==6.1\n", {}, {"cowsay==6.1"}),
}


@pytest.mark.parametrize("form", HOLDS)
def test_it_holds(shared_settings: Settings, form: str) -> None:
    text, files, packages = HOLDS[form]
    space = TinySpace(settings=shared_settings, name="form", files=files)
    space.files = {**files, "requirements.txt": text.encode() if isinstance(text, str) else text}
    resolution = space.resolve()
    assert packages <= {package.partition(" @ ")[0] for package in resolution.packages}
    away = "package-source-unreachable" in [finding.code for finding in resolution.findings]
    assert (away, makeshift(resolution)) == ((True, True) if "away" in form else (False, False))


# requirements.txt, the Space's other files, what the message says, and a word of the lines that say why.
FAILS: dict[str, tuple[str, dict[str, bytes], str, str]] = {
    "another hash": (
        f"iniconfig==2.0.0 --hash=sha256:{'0' * 64}\n", {}, "other files than the requirements allow", "iniconfig-2.0.0"
    ),
    "constraints that contradict": (
        "iniconfig>=2\n-c limits.txt\n", {"limits.txt": b"iniconfig<2\n"}, "do not fit together", "iniconfig"
    ),
    "a repository that is away": (
        f"git+{NOWHERE}/a/b.git\n", {}, "A repository among the requirements", "Failed to connect"
    ),
    "a wheel that is away": (f"{NOWHERE}/{OWN}\n", {}, f"{NOWHERE}/{OWN}, which the requirements name", "refused"),
    "an index that is away": (f"--index-url {NOWHERE}/simple\nx\n", {}, f"{NOWHERE}/simple", "refused"),
    "a wheel for another Python": (f"./wheels/{OWN_310}\n", wheels(OWN_310), "no wheel for Python 3.11", "own-thing"),
    "a package for another Python": ("numpy==2.5.5\n", {}, "numpy==2.5.5 needs Python >=3.12", "numpy"),
    "a version that never was": ("iniconfig==999.0\n", {}, "There is no iniconfig==999.0", "iniconfig"),
}  # fmt: skip


@pytest.mark.parametrize("form", FAILS)
def test_it_fails(shared_settings: Settings, form: str) -> None:
    text, files, message, line = FAILS[form]
    space = TinySpace(settings=shared_settings, name="fails", requirements=text, files=files)
    with pytest.raises(Unresolvable) as caught:
        space.resolve()
    assert message in caught.value.message
    assert line in "\n".join(caught.value.lines)
    assert caught.value.hint
    assert any(entry.startswith("Not with today's packages: ") for entry in space.log)


def test_a_rung_that_holds_says_why_the_ones_before_did_not(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, name="rungs", requirements="pydantic==1.10.2\n")
    resolution = space.resolve()
    told = next(finding for finding in resolution.findings if finding.code == "resolved-legacy")
    assert [line.partition(":")[0] for line in told.lines] == [
        "Not with today's packages",
        "Not with today's packages, without the compatibility limits",
    ]
    assert all("pydantic" in line for line in told.lines)
    attempts = [event for event in space.events if isinstance(event, Progress) and event.unit == "attempts"]
    assert attempts[0].what == "today's packages"


def test_the_requirements_of_pre_requirements_give_way_to_later_ones_as_on_the_hub(shared_settings: Settings) -> None:
    files = {"pre-requirements.txt": b"cowsay==6.0\niniconfig==1.1.1\n"}
    first = TinySpace(
        settings=shared_settings, name="pre", requirements="cowsay==6.0\n", files=files, pre="pre-requirements.txt"
    )
    assert {"cowsay==6.0", "iniconfig==1.1.1"} <= set(first.resolve().packages)
    later = replace(first, name="pre-later", requirements="cowsay==6.1\n")
    assert {"cowsay==6.1", "iniconfig==1.1.1"} <= set(later.resolve().packages)


def test_a_requirement_that_needs_more_than_a_limit_leaves_is_told(shared_settings: Settings) -> None:
    space = TinySpace(settings=shared_settings, gradio="4.44.1", python="3.10", requirements="fastapi>=0.115\n")
    resolution = space.resolve()
    told = {finding.code: finding for finding in resolution.findings}
    assert "fastapi<0.113" in told["compat-overruled"].message
    assert "unhashable type" in told["compat-overruled"].lines[0]
    assert "huggingface_hub<1" in told["compat-limits"].message, "the other limits hold"
    assert not any(package.startswith("huggingface-hub==1") for package in resolution.packages)


@pytest.fixture
def remote() -> Iterator[str]:
    """An address from which wheels come, one of them for Python 3.10 alone."""
    with serving(
        Index(files={OWN: wheels(OWN)[f"wheels/{OWN}"], OWN_310: wheels(OWN_310)[f"wheels/{OWN_310}"]})
    ) as root:
        yield f"{root}/files"


def test_a_wheel_at_an_address_decides_for_its_python_and_is_installed(shared_settings: Settings, remote: str) -> None:
    space = TinySpace(settings=shared_settings, name="by-url", python=None, requirements=f"{remote}/{OWN_310}\n")
    built = space.build()
    assert built.resolution.python_version.startswith("3.10.")
    own = space.python_of(built)
    assert run_as_space([str(own), "-c", "import own_thing; print(own_thing.ANSWER)"], own).stdout == "42\n"


@pytest.mark.parametrize("where", ["file", "code"])
def test_a_wheel_that_the_code_may_install_decides_for_its_python(
    shared_settings: Settings, remote: str, where: str
) -> None:
    code = f"import os\nos.system('pip install {remote}/{OWN_310}')\n" if where == "code" else ""
    space = TinySpace(
        settings=shared_settings,
        name=f"by-{where}",
        python=None,
        files={"app.py": code.encode(), **(wheels(OWN_310) if where == "file" else {})},
    )
    assert space.resolve().python_version.startswith("3.10.")


def test_the_owners_python_must_be_had(shared_settings: Settings) -> None:
    with pytest.raises(PythonMissing, match=r"Python 3\.14 is not on this machine"):
        TinySpace(settings=replace(shared_settings, python_downloads=False)).resolve(RunOptions(python="3.14"))


def test_a_space_without_a_version_of_gradio_gets_the_one_of_its_day(shared_settings: Settings) -> None:
    space = TinySpace(
        settings=shared_settings, gradio=None, python=None, committed_at="2023-06-01T10:00:00+00:00", commit="f" * 40
    )
    resolution = space.resolve()
    assert "gradio==3.32.0" in resolution.packages
    assert resolution.python_version.startswith("3.10.")
    assert resolution.exclude_newer == "2023-06-01T10:00:00+00:00"


@pytest.mark.parametrize(
    ("version", "day", "python"), [("1.10.0", "2022-07-20", "3.9"), ("1.19.0", "2023-03-10", "3.10")]
)
def test_old_streamlit_has_packages_of_its_time_with_and_without_a_history(
    shared_settings: Settings, version: str, day: str, python: str
) -> None:
    space = TinySpace(settings=shared_settings, sdk=Sdk.STREAMLIT, gradio=version, python=None)
    undated = space.resolve()
    dated = replace(space, committed_at=f"{day}T10:00:00+00:00", commit="e" * 40).resolve()
    assert (undated.how, dated.how) == (ResolvedHow.JOINT, ResolvedHow.AS_OF_DATE)
    for resolution in (undated, dated):
        versions = dict(package.split("==") for package in resolution.packages)
        assert versions["streamlit"] == version
        assert (versions["altair"][0], versions["protobuf"][0], versions["numpy"][0]) == ("4", "3", "1")
        assert resolution.python_version.startswith(f"{python}.")
        assert not {"gradio", "spaces"} & set(versions)
