"""Where the values of secrets come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spaces_runner.notebook.cells import secret
from spaces_runner.notebook.helper import Failed

KAGGLE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}
# What Kaggle's image has, with one secret attached to the notebook.
IMAGE = """
class BackendError(Exception): pass
class CredentialError(Exception): pass
class UserSecretsClient:
    def get_secret(self, label):
        if label == "ATTACHED":
            return "its value"
        raise {error}
"""


@pytest.fixture(params=["BackendError('not there')", "CredentialError('not yours')", "ConnectionError('no internet')"])
def image(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "kaggle_secrets.py").write_text(IMAGE.format(error=request.param))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kaggle_secrets", raising=False)
    return str(request.param).split("'")[1]


def test_the_environment_has_them() -> None:
    assert secret("A", {"A": "b", **KAGGLE}) == "b"
    with pytest.raises(Failed, match="There is no secret A"):
        secret("A", {"A": ""})


def test_kaggle_hands_out_what_is_attached(image: str) -> None:
    assert secret("ATTACHED", KAGGLE) == "its value"
    with pytest.raises(Failed, match=f"does not hand out the secret OTHER: {image}\\nhint: Attach it"):
        secret("OTHER", KAGGLE)
