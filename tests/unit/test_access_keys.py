"""The list of keys: who has one and since when, and nothing that could be used."""

from __future__ import annotations

import json
import time

from app.views import access_keys
from spaces_runner.core import keys
from spaces_runner.core.keys import Key
from spaces_runner.settings import Settings


def test_a_key_is_listed_with_the_time_it_was_made(settings: Settings) -> None:
    begun = time.time()
    for name in ("first", "second"):
        keys.issue(settings, name)
    keys.grant(settings, "a-space")
    first, second = keys.listed(settings)
    assert (first.name, second.name) == keys.issued(settings) == ("first", "second")
    assert first.made is not None and second.made is not None and begun - 1 < first.made <= second.made < time.time()


def test_a_key_of_before_that_was_noted_is_listed(settings: Settings) -> None:
    keys.issue(settings, "old")
    file = keys.path(settings)
    entry = json.loads(file.read_text())["keys"][0]
    file.write_text(json.dumps({"keys": [{name: entry[name] for name in ("name", "sha256")}]}))
    assert keys.listed(settings) == (Key(name="old", made=None),)


def test_the_list_says_who_and_since_when() -> None:
    html = access_keys.listing([Key(name="<b>", made=100.0), Key(name="old", made=None)], 160.0)
    assert "&lt;b&gt;" in html and "<b>" not in html
    assert 'data-name="old"' in html and "<td>-</td>" in html and ">1m" in html
    assert "No program" in access_keys.listing([], 0.0)
