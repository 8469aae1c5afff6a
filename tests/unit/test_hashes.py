"""`--hash` lines against what was locked, and where requirements take packages from (pure)."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces_runner.environment import hashes, origins
from spaces_runner.requirements import read

ONE, TWO = "a" * 64, "b" * 64
LOCK = f"""
[[packages]]
name = "my-pkg"
version = "1.0"
wheels = [{{ url = "https://e.org/my_pkg-1.0-py3-none-any.whl", hashes = {{ sha256 = "{ONE}" }} }}]

[[packages]]
name = "other"
version = "2.0"
wheels = [{{ url = "https://e.org/other-2.0-py3-none-any.whl", hashes = {{ sha256 = "{TWO}" }} }}]
"""
DIFFERS = ("my-pkg==1.0 (my_pkg-1.0-py3-none-any.whl)",)


@pytest.mark.parametrize(
    ("line", "others"),
    [
        (f"my_pkg==1.0 --hash=sha256:{ONE}", ()),
        (f"My.Pkg==1.0 --hash=sha256:{TWO} --hash=sha256:{ONE.upper()}", ()),
        (f"my_pkg==1.0 --hash=sha256:{TWO}", DIFFERS),
        (f'my_pkg==1.0; python_version > "3.8" --hash=sha256:{TWO}', DIFFERS),
        (f"my_pkg==1.0 --hash=sha512:{TWO}{TWO}", ()),
        ("my_pkg==1.0", ()),
        (f"https://e.org/my_pkg-1.0-py3-none-any.whl#sha256={TWO}", ()),
        (f"absent==1.0 --hash=sha256:{TWO}", ()),
    ],
)
def test_a_file_that_no_hash_allows_is_told(line: str, others: tuple[str, ...]) -> None:
    assert hashes.others(LOCK, hashes.allowed(["--pre", line, "other"])) == others


def test_an_exact_version_keeps_its_hashes() -> None:
    files = hashes.allowed([f"my_pkg==1.0 --hash=sha256:{ONE}"])
    assert hashes.told("my-pkg==1.0", files) == f"my-pkg==1.0 --hash=sha256:{ONE}"
    assert hashes.told("other==2.0", files) == "other==2.0"


def test_what_the_requirements_name_themselves(tmp_path: Path) -> None:
    text = (
        "--extra-index-url https://e.org/simple\n-f https://e.org/wheels.html\n-i https://i.org/simple\n"
        "https://w.org/x-1-py3-none-any.whl#sha256=00\n"
    )
    (tmp_path / "requirements.txt").write_text(text)
    required = read(tmp_path, "requirements.txt")
    extra, page = "--extra-index-url https://e.org/simple", "--find-links https://e.org/wheels.html"
    assert origins.besides(required, "https://e.org/simple/numpy/") == extra
    assert origins.besides(required, "https://e.org/wheels.html") == page
    assert origins.besides(required, "https://e.org/simplest/") == ""
    assert origins.besides(required, "https://i.org/simple/x/") == "", "it is no further one"
    assert origins.besides(required, "") == ""
    assert origins.names(required, "https://i.org/simple/x/")
    assert origins.names(required, "https://w.org/x-1-py3-none-any.whl")
    assert not origins.names(required, "https://pypi.org/simple/x/")
    assert extra not in origins.without(required, extra).lines
