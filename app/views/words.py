"""Advice in the words of the command line, as errors have it -> in the words of the page, where it has a field. Pure.

Errors and findings are one text for every face. What the page cannot do stays as it is: a command is still of use.
"""

from __future__ import annotations

import re

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# In this order: what says more goes before what is part of it. The names are those of the fields, in quotation marks.
_TABLE = (
    (r"--python and a version\b", "a Python version"),
    (r"--python (?=3\.\d)", "Python "),
    (r"\b(another|newer|older) --python\b", r"\1 Python"),
    (r"--python\b", "“Python” in the options"),
    (rf"\b(Set (?:it|what you have)) with --secret ({_NAME})=…", r"\1 as the secret \2"),
    (rf"--secret ({_NAME})(?:=…)?", r"the secret \1"),
    (r"--secret\b", "“Secret” in the options"),
    (rf"--env ({_NAME})=…", r"the variable \1"),
    (rf"--env (?={_NAME}=|[A-Z])", "the variable "),
    (r"--env\b", "a variable"),
    (r"--gpu (auto|none|\d+)\b", r"“GPU” set to \1"),
    (r"--gpu\b", "“GPU” in the options"),
    (r"\bwith --no-share\b", "without “Public link”"),
    (r"\bwith --refresh\b", "with “Resolve the packages anew”"),
    (r"\bLaunch with --apt, or:  ", "Launch with “System packages”, or type:  "),
    (r"--apt\b", "“System packages” in the options"),
    (r"\bafter --, for example: spaces-runner run … -- ", "in “Arguments of the app”, for example: "),
    (r"\barguments after --(?=,)", "“Arguments of the app”"),
    (r"\bwith -- (--\S+ …)", r"with \1 in “Arguments of the app”"),
    (r" \(spaces-runner ps, spaces-runner stop\)", ""),
    (r"\bSee spaces-runner doctor for the GPUs\b", "See the tab GPU for the GPUs"),
)
_RULES = tuple((re.compile(pattern), words) for pattern, words in _TABLE)


def of_page(advice: str) -> str:
    """`advice` as a person at the page can follow it."""
    for pattern, words in _RULES:
        advice = pattern.sub(words, advice)
    return advice
