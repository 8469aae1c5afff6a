"""`scripts/install` and `scripts/test` in a small project of their own, on machines that lack this or that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "cut", "dirname", "env", "flock", "git", "grep", "mkdir", "rm", "sha256sum", "touch", "uname")
PATIENCE_S = 400.0  # an environment is made, and packages are fetched
PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "spaces-runner"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["spaces_runner"]
[tool.pytest.ini_options]
addopts = "-q"
"""
NOISY_APT = (
    "#!/bin/sh\necho 'Err:1 http://deb.debian.org Temporary failure'\necho 'E: Unable to locate' >&2\nexit 100\n"
)
LFS_STANDS = '#!/bin/sh\n[ "$1" = lfs ] && exit 0\nexec {git} "$@"\n'
LFS_LACKS = '#!/bin/sh\n[ "$1" = lfs ] && exit 1\nexec {git} "$@"\n'
# Debian's Python without python3-venv: it begins, leaves what it has made, and fails. It has no pip either.
NO_ENSUREPIP = """#!/bin/sh
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin; echo "ensurepip is not available" >&2; exit 1;;
    "-m pip"*) exit 1;;
esac
exec {python} "$@"
"""

pytestmark = pytest.mark.network_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A project and the programs that its scripts find: `tools` is the whole of PATH."""

    project: Path
    tools: Path
    environ: dict[str, str] = field(default_factory=dict)

    def has(self, name: str, script: str) -> None:
        """Put a program of our own in the place of `name`."""
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def lacks(self, name: str) -> None:
        (self.tools / name).unlink()

    def is_of_user(self, uid: int) -> None:
        self.has("id", f"#!/bin/sh\necho {uid}\n")

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        environ = {**os.environ, **self.environ, "PATH": str(self.tools), "PYTHON": str(self.tools / "python3")}
        line = [str(self.project / "scripts" / script), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            line, env=environ, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def __call__(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        running = self.start(script, *arguments)
        out, said = ended(running)
        return subprocess.CompletedProcess(running.args, running.returncode, out, said)

    def installed(self, *names: str) -> bool:
        """Whether the project's environment can import them."""
        python = self.project / ".venv/bin/python"
        return subprocess.run([python, "-c", f"import {','.join(names)}"], check=False, timeout=60).returncode == 0


def ended(running: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed, once it has ended. What takes too long is ended with all that it started."""
    try:
        return running.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        raise


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with Python, git and uv, no apt-get, no browser; its user is not root."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "python3").symlink_to(base_python())
    (tools / "uv").symlink_to(find_uv_bin())
    project = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", project / "scripts")
    (project / "spaces_runner").mkdir()
    (project / "spaces_runner/__init__.py").touch()
    (project / "pyproject.toml").write_text(PYPROJECT)
    pins = (ROOT / "requirements.txt").read_text().splitlines()
    (project / "requirements.txt").write_text(next(line for line in pins if line.startswith("uv==")) + "\n")
    (project / "requirements-dev.txt").write_text("pytest\n")
    made = Machine(project=project, tools=tools)
    made.is_of_user(1000)
    made.has("git", LFS_STANDS.format(git=shutil.which("git")))
    return made


def base_python() -> str:
    """The interpreter behind the environment that the tests run in."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))


def empty(venv: Path) -> None:
    venv.mkdir()


def dangling(venv: Path) -> None:
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python3.0")


def unfit(venv: Path) -> None:
    dangling(venv)
    (venv / "bin/python").unlink()
    (venv / "bin/python").write_text("#!/bin/sh\nexit 127\n")
    (venv / "bin/python").chmod(0o755)


def without_pip(venv: Path) -> None:
    subprocess.run([base_python(), "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)


def interrupted(venv: Path) -> None:
    without_pip(venv)
    (venv / ".installing").touch()


def moved(venv: Path) -> None:
    without_pip(venv)
    (venv / ".made-in").write_text("/home/ada/runner\n")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (empty, "has no Python"),
        (dangling, "its Python is gone"),
        (unfit, "does not run"),
        (without_pip, "neither pip nor uv"),
        (interrupted, "an installation that did not end"),
        (moved, "was made in another place, /home/ada/runner"),
    ],
)
def test_a_broken_environment_is_made_anew(machine: Machine, broken: Callable[[Path], None], said: str) -> None:
    broken(machine.project / ".venv")
    done = machine("install")
    assert done.returncode == 0, done.stderr
    (line, _) = done.stderr.splitlines()
    assert line.startswith(".venv ")
    assert said in line
    assert line.endswith("it is made anew.")
    assert machine.installed("spaces_runner", "uv")


def test_the_second_call_finds_everything_done(machine: Machine) -> None:
    assert machine("install").returncode == 0
    machine.lacks("uv")
    machine.environ["UV_OFFLINE"] = "1"  # nothing is made or fetched any more
    done = machine("install")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_killed_while_it_installed_is_made_anew(machine: Machine) -> None:
    machine.has("uv", "#!/bin/sh\nkill -KILL $PPID\nsleep 1\n")  # `$(uv …)`: the shell around it dies, and the script
    assert machine("install").returncode != 0
    (machine.tools / "uv").unlink()
    (machine.tools / "uv").symlink_to(find_uv_bin())
    done = machine("install")
    assert done.returncode == 0, done.stderr
    assert "an installation that did not end" in done.stderr
    assert machine.installed("spaces_runner")


def test_two_started_at_once_do_not_disturb_each_other(machine: Machine) -> None:
    both = [machine.start("install"), machine.start("install")]
    said = [ended(one)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sorted(said) == ["", "Installing Python packages …\n"]


def test_a_wheel_folder_that_pip_is_told_of_holds_for_uv(machine: Machine, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "nowhere_else-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nowhere_else.py", "")
        wheel.writestr("nowhere_else-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: nowhere-else\nVersion: 1\n")
        wheel.writestr(
            "nowhere_else-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("nowhere_else-1.dist-info/RECORD", "")
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {tmp_path}".strip()
    machine.environ["PIP_FIND_LINKS"] = links
    with (machine.project / "requirements.txt").open("a") as file:
        file.write("nowhere-else\n")
    done = machine("install")
    assert done.returncode == 0, done.stderr
    assert machine.installed("nowhere_else")


def test_the_index_that_pip_is_told_of_holds_for_uv(machine: Machine, tmp_path: Path) -> None:
    machine.lacks("uv")
    machine.has("uv", f"#!{shutil.which('bash')}\nexport -p >{tmp_path}/told\nexit 1\n")
    for name in (
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_FIND_LINKS",
        "UV_INDEX_STRATEGY",
    ):
        machine.environ[name] = ""
    machine.environ["PIP_EXTRA_INDEX_URL"] = "http://127.0.0.1:9/extra"
    done = machine("install")
    assert done.returncode == 1
    assert "Is the package index in reach?" in done.stderr
    told = (tmp_path / "told").read_text()
    assert 'UV_INDEX="http://127.0.0.1:9/extra"' in told
    assert 'UV_INDEX_STRATEGY="unsafe-best-match"' in told
    assert "UV_DEFAULT_INDEX" not in told
    assert "UV_FIND_LINKS" not in told


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_python_without_venv_is_told_what_it_lacks(machine: Machine, uid: int) -> None:
    machine.lacks("uv")
    machine.is_of_user(uid)
    machine.has("apt-get", NOISY_APT)
    machine.lacks("python3")
    machine.has("python3", NO_ENSUREPIP.format(python=base_python()))
    done = machine("install")
    assert done.returncode == 1
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"Missing: {package}; ")
    assert f"apt-get install {package}" in line
    assert "Err:" not in done.stderr
    assert not (machine.project / ".venv").exists()


def test_root_gets_what_a_python_lacks_by_apt(machine: Machine) -> None:
    """And pip brings uv where there is none, as on a fresh machine."""
    machine.lacks("uv")
    machine.is_of_user(0)
    machine.lacks("python3")
    machine.has("python3", NO_ENSUREPIP.format(python=base_python()))
    installing = f"#!/bin/sh\n/bin/ln -sf {base_python()} {machine.tools}/python3\n"
    machine.has("apt-get", installing)
    done = machine("install")
    assert done.returncode == 0, done.stderr
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert done.stderr.splitlines() == [f"Installing {package} …", "Installing Python packages …"]
    assert machine.installed("uv", "pip")


def test_a_python_without_venv_does_where_there_is_uv(machine: Machine) -> None:
    machine.lacks("python3")
    machine.has("python3", NO_ENSUREPIP.format(python=base_python()))
    assert machine("install").returncode == 0
    assert machine.installed("uv")


@pytest.mark.parametrize(
    ("uid", "apt", "remedy"),
    [
        (0, NOISY_APT, "apt-get could not install it"),
        (0, None, "the way your system does"),
        (1000, NOISY_APT, "sudo apt-get install"),
        (1000, None, "the way your system does"),
    ],
)
def test_what_cannot_be_installed_is_one_line_and_the_rest_goes_on(
    machine: Machine, uid: int, apt: str | None, remedy: str
) -> None:
    machine.is_of_user(uid)
    machine.has("git", LFS_LACKS.format(git=shutil.which("git")))
    if apt is not None:
        machine.has("apt-get", apt)
    suite(machine, "unit", "def test_one(): pass\n")
    done = machine("test", "unit")
    assert done.returncode == 0, done.stderr
    missing = [line for line in done.stderr.splitlines() if line.startswith("Missing: ")]
    assert [line.split(";")[0] for line in missing] == ["Missing: git-lfs", "Missing: chromium", "Missing: podman"]
    assert all("left out" in line and remedy in line for line in missing)
    assert "Err:" not in done.stdout + done.stderr
    assert "suite unit: " in done.stdout


def test_a_suite_without_a_match_fails_only_where_all_are(machine: Machine) -> None:
    suite(machine, "unit", "def test_one(): pass\n")
    suite(machine, "browser", "def test_two(): pass\n")
    assert machine("test", "unit", "browser", "--", "-k", "two").returncode == 0
    none = machine("test", "unit", "browser", "--", "-k", "three")
    assert none.returncode == 1
    assert "No test was found in: unit browser" in none.stderr


def test_a_suite_that_fails_is_named(machine: Machine) -> None:
    suite(machine, "unit", "def test_one(): pass\n")
    suite(machine, "browser", "def test_two(): assert False\n")
    done = machine("test", "unit", "browser")
    assert done.returncode == 1
    assert done.stderr.endswith("failed: browser\n")


def suite(machine: Machine, name: str, text: str) -> None:
    folder = machine.project / "tests" / name
    folder.mkdir(parents=True)
    (folder / f"test_{name}.py").write_text(text)
