"""The few questions for the Hub's HTTP API. Knows its routes; knows no files."""

from __future__ import annotations

import json
import re
from typing import Any

from spaces_runner.errors import AccessDenied, CheckoutError, NetworkFailed, SpaceNotFound
from spaces_runner.settings import Settings

# Answers become parts of addresses and paths, so they are held to the form that a pasted name has.
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PATIENCE_S = 20.0
_MOST_SPLITS = 12  # questions asked at most for one subdomain


def space_at(subdomain: str, settings: Settings) -> str:
    """`owner/name` of the Space at https://<subdomain>.hf.space. Raises SpaceNotFound, AccessDenied or NetworkFailed.

    The Hub has a route for it, the one that Gradio's JavaScript client asks. It does not show private Spaces; for
    these each way to split the name is tried.
    """
    answer = _get(f"api/spaces/by-subdomain/{subdomain}", settings)
    if answer is None:
        parts = subdomain.split("-")
        splits = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(1, len(parts))]
        for owner, name in splits[:_MOST_SPLITS] if settings.hf_token else ():
            answer = answer or _get(f"api/spaces/{owner}/{name}", settings)
    found = answer.get("id") if answer else None
    if not isinstance(found, str) or not _ID.fullmatch(found) or ".." in found:
        hint = "Open the Space's page on the Hub and paste that address; a private Space needs a token: hf auth login"
        raise SpaceNotFound(f"The Hub knows no Space at {subdomain}.hf.space.", hint=hint)
    return found


def commit_of(space: str, revision: str, settings: Settings) -> str | None:
    """The commit that the Hub says a revision of `owner/name` is; None where it knows no such revision."""
    answer = _get(f"api/spaces/{space}/revision/{revision}", settings)
    found = answer.get("sha") if answer else None
    return found if isinstance(found, str) and _COMMIT.fullmatch(found) and found.startswith(revision) else None


def _get(route: str, settings: Settings) -> dict[str, Any] | None:
    """The JSON object at a route of the Hub; None where there is none, or none that this token may see."""
    import httpx  # only some Spaces are asked about, and it takes a third of a second

    url = f"{settings.hf_endpoint}/{route}"
    headers = {"Authorization": f"Bearer {settings.hf_token}"} if settings.hf_token else {}
    try:
        answer = httpx.get(url, headers=headers, timeout=_PATIENCE_S, follow_redirects=True)
    except httpx.HTTPError as error:
        hint = f"Check that this machine reaches {settings.hf_endpoint}."
        raise NetworkFailed("The Hub did not answer.", hint=hint, lines=(str(error),)) from error
    if answer.status_code == 403:
        raise AccessDenied("Your Hub token does not open this Space.", hint="Use another one: hf auth login")
    if answer.status_code in (400, 401, 404):
        return None
    if answer.status_code != 200:
        hint = "Wait five minutes and start it again."
        raise NetworkFailed(f"The Hub answered {answer.status_code} {answer.reason_phrase}.", hint=hint)
    return _object(answer.content)


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CheckoutError("The Hub's answer is no JSON object.", hint="Check HF_ENDPOINT.")
    return value
