"""What options mean, and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import typer

from spaces_runner.cli import options
from spaces_runner.cli.face import Face, make_face
from spaces_runner.settings import Settings


def face(environ: Mapping[str, str]) -> Face:
    return Face(
        settings=Settings(home="/nowhere"),
        environ=environ,
        as_json=False,
        colour_out=False,
        colour_err=False,
        live=False,
    )


def test_variables_come_from_the_command_or_the_environment() -> None:
    found = options.variables(["A=1", "B=x=y", "C", "D="], face({"C": "here"}))
    assert found == {"A": "1", "B": "x=y", "C": "here", "D": ""}


def test_a_variable_that_is_not_here_is_told() -> None:
    with pytest.raises(typer.BadParameter, match="--env MISSING: it has no value here"):
        options.variables(["MISSING"], face({}))


@pytest.mark.parametrize("text", ["1A=x", "A-B=x", "=x", "A B=x"])
def test_a_name_that_is_none_is_told_without_the_value(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no name of a variable") as caught:
        options.secrets([text.replace("x", "hidden-value")], face({}))
    assert "hidden-value" not in str(caught.value)


def test_a_secret_with_its_value_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.secrets(["A=1", "B=2"], face({})) == {"A": "1", "B": "2"}
    said = capsys.readouterr()
    assert said.err.count("shell's history") == said.err.count("other users see it") == 1
    assert not said.out


def test_a_secret_from_the_environment_is_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert options.secrets(["A"], face({"A": "1"})) == {"A": "1"}
    assert not capsys.readouterr().err


def test_a_setting_that_is_no_number_is_a_usage_error() -> None:
    with pytest.raises(typer.BadParameter, match="SPACES_RUNNER_UID_BASE must be a whole number"):
        make_face({"SPACES_RUNNER_UID_BASE": "many"}, as_json=False)


@pytest.mark.parametrize(("base", "accepted"), [(0, False), (1023, False), (1024, True), (57535, True), (57536, False)])
def test_ports_for_spaces_must_be_ports(base: int, accepted: bool) -> None:
    environ = {"SPACES_RUNNER_PORT_BASE": str(base)}
    if accepted:
        assert make_face(environ, as_json=False).settings.port_base == base
        return
    with pytest.raises(typer.BadParameter, match="must be from 1024 to 57535"):
        make_face(environ, as_json=False)
