"""The Hub's order until 2024: a Space's requirements first, then its Gradio over them, whatever that breaks."""

from __future__ import annotations

from dataclasses import replace

from spaces_runner.environment import hashes, lock
from spaces_runner.environment.attempt import Answer, Question, ask, compile_lock, options
from spaces_runner.environment.uv import RESOLVE_TIMEOUT_S
from spaces_runner.environment.workshop import Workshop


def ask_in_two_steps(question: Question, shop: Workshop) -> Answer:
    """A lock of `question.lines` with the additions of its request laid over it.

    As pip does, the second step keeps a version of the first where that fits and replaces it where it does not.
    """
    first = ask(question, shop)
    if not first.ok:
        return first
    under = {package.name: package for package in lock.packages(first.lock)}
    over = _keeping(question, under, shop)
    if not over.ok:
        return over
    merged = under | {package.name: package for package in lock.packages(over.lock)}
    files = hashes.allowed(question.lines)
    lines = tuple(hashes.told(package.requirement, files) for package in merged.values())
    uv = shop.spaces() if first.built else shop.runners()
    extra = () if first.built else ("--no-build",)
    answer = compile_lock(lines, (*options(_undated(question), shop), "--no-deps", *extra), uv)
    return Answer(lock=answer.lock, outcome=answer.outcome, built=first.built, torch_missed=first.torch_missed)


def _keeping(question: Question, under: dict[str, lock.Package], shop: Workshop) -> Answer:
    """The additions, with the versions of `under` preferred: all of them, else without those that stand in the way."""
    additions = question.request.additions
    kept = {name: package for name, package in under.items() if package.version}
    wanted = replace(question, lines=additions)
    path = shop.scratch / "preferred.txt"
    path.write_text("".join(f"{name}=={package.version}\n" for name, package in sorted(kept.items())))
    answer = _ask_preferring(wanted, path.read_text(), shop)
    return answer if answer.ok else ask(wanted, shop)


def _ask_preferring(question: Question, preferred: str, shop: Workshop) -> Answer:
    """uv takes the versions in its output file as preferences, which it leaves where they do not fit."""
    output = shop.scratch / "over.txt"
    output.write_text(preferred)
    chosen = (*options(question, shop), "--no-build", "--no-header", "--no-annotate", "--quiet")
    command = ("pip", "compile", "-", "--output-file", str(output), *chosen)
    outcome = shop.runners().run(command, RESOLVE_TIMEOUT_S, stdin="\n".join(question.lines) + "\n")
    if not outcome.ok:
        return Answer(lock="", outcome=outcome)
    lines = tuple(output.read_text().splitlines())
    return compile_lock(lines, (*options(_undated(question), shop), "--no-deps", "--no-build"), shop.runners())


def _undated(question: Question) -> Question:
    """For versions that are exact already."""
    return Question(lines=question.lines, request=question.request)
