"""The Hub's folders and its sign-in inside of a Space's Python, from the oldest interpreter here to the newest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spaces_runner.environment.pythons import installed
from spaces_runner.settings import read_settings
from tests.support.apps import BOOTSTRAP

PYTHONS = {python.minor: python.path for python in installed(read_settings())}

START = "import _spaces_runner_hub as hub; hub.start()\n"
USE = """
import io, os, pathlib, shutil, sqlite3, subprocess, sys, tempfile
os.makedirs("/data/a/b", exist_ok=True)
pathlib.Path("/data/a/one.txt").write_text("one")
os.rename("/data/a/one.txt", b"/data/a/b/two.txt".decode())
assert os.listdir(b"/data/a") == [b"b"] and os.path.isdir("/data/a/b") and not os.path.exists("/data/a/one.txt")
assert [path.read_text() for path in pathlib.Path("/data/a").glob("**/*.txt")] == ["one"]
assert open(file="/data/a/b/two.txt").read() == io.open("/data/a/b/two.txt").read() == "one"
assert shutil.copytree("/data/a", "/data/c") and shutil.rmtree("/data/a") is None and not os.path.exists("/data/a")
sqlite3.connect("/data/state.db").execute("CREATE TABLE t (x)")
sqlite3.connect(database="/data/other.db").execute("CREATE TABLE t (x)")
assert os.system("test -f /data/state.db && test -f '/data/other.db' && ! test -e /database") == 0
said = subprocess.run(["cat", "/data/c/b/two.txt"], stdout=subprocess.PIPE, cwd="/data/c", check=True).stdout
assert said == b"one"
child = "import os; print(os.listdir('/data/c'))"
said = subprocess.run([sys.executable, "-c", START + child], stdout=subprocess.PIPE, env={"PYTHONPATH": PLACE}).stdout
assert said == b"['b']\\n", said
pathlib.Path("/data/lib").mkdir()
pathlib.Path("/data/lib/mine_only.py").write_text("x = 3")
sys.path.append("/data/lib")
import mine_only
assert mine_only.x == 3
with tempfile.NamedTemporaryFile() as file:
    assert os.fstat(file.fileno()).st_size == 0 and os.stat(file.fileno()).st_size == 0
assert os.stat in os.supports_follow_symlinks and shutil.rmtree.avoids_symlink_attacks
assert os.path.realpath("/data/c") == os.path.join(OWN, "c") and os.path.exists("/database") is False
os.chdir("/data")
assert os.getcwd() == OWN
"""


def run(python: str, code: str, tmp_path: Path, folders: dict[str, str]) -> subprocess.CompletedProcess[str]:
    place = str(BOOTSTRAP.parent)
    environ = {"PYTHONPATH": place, "SPACES_RUNNER_SOCKET": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
    if folders:
        environ["SPACES_RUNNER_PATHS"] = json.dumps(folders)
    told = f"PLACE = {place!r}; OWN = {folders.get('/data', '')!r}; START = {START!r}\n"
    command = [python, "-B", "-c", START + told + code]
    return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(Path("/data").exists(), reason="this machine has a folder of that name, which stays what it is")
@pytest.mark.parametrize("minor", [*sorted(PYTHONS), "this"])
def test_pythons_of_every_age_find_the_spaces_own_folder(minor: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    done = run(PYTHONS.get(minor, sys.executable), USE, tmp_path, {"/data": str(own)})
    assert done.returncode == 0, done.stderr
    assert (own / "c/b/two.txt").read_text() == "one"


@pytest.mark.skipif(Path("/data").exists(), reason="this machine has a folder of that name, which stays what it is")
def test_a_library_that_opens_files_in_rust_finds_it(tmp_path: Path) -> None:
    code = """
from safetensors.numpy import load_file, save_file
import numpy
save_file({"w": numpy.ones(3)}, "/data/w.safetensors")
assert load_file("/data/w.safetensors")["w"].sum() == 3
from safetensors import safe_open
with safe_open(filename="/data/w.safetensors", framework="np") as file:
    assert list(file.keys()) == ["w"]
"""
    done = run(sys.executable, code, tmp_path, {"/data": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "w.safetensors").exists()


def test_a_folder_that_this_machine_has_stays_what_it_is(tmp_path: Path) -> None:
    code = "import os; print('passwd' in os.listdir('/etc'), hub.ROOTS, type(open).__name__)"
    done = run(sys.executable, code, tmp_path, {"/etc": str(tmp_path)})
    assert done.stdout == "True [] builtin_function_or_method\n"


def test_without_folders_nothing_is_redirected(tmp_path: Path) -> None:
    done = run(sys.executable, "import os; print(type(os.stat).__name__, type(open).__name__)", tmp_path, {})
    assert done.stdout.split() == ["builtin_function_or_method"] * 2


def test_nobody_can_sign_in_and_everybody_is_a_visitor(tmp_path: Path) -> None:
    code = """
import sys, types
def no_account():
    raise ValueError("Your machine must be logged in\\nor so")
oauth = types.ModuleType("gradio.oauth")
oauth._get_mocked_oauth_info = no_account
hub.patch_oauth(oauth)
assert oauth._get_mocked_oauth_info()["userinfo"]["preferred_username"] == "visitor"
hub.patch_oauth(types.ModuleType("gradio.oauth"))  # of a Gradio that has none
"""
    done = run(sys.executable, code, tmp_path, {})
    assert done.returncode == 0, done.stderr
    assert done.stderr == "Spaces Runner signs everybody in as `visitor`: Your machine must be logged in\n"
