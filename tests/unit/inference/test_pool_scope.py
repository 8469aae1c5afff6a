"""Nobody learns from the time to the first token what others asked: prefixes are reused by their own client alone."""

from __future__ import annotations

from tests.support.inference_core import Workshop, make_request
from tests.support.inference_models import ask, drain, new_engine
from tests.support.inference_pool import pool_of, run

PROMPT = [5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49]


def test_an_engine_reuses_a_prefix_within_its_scope_alone() -> None:
    engine = new_engine()
    reused = {}
    for name, scope in (("first", "ann"), ("stranger", "ben"), ("again", "ann")):
        heard = ask(engine, PROMPT, 4, name=name, scope=scope)
        drain(engine)
        reused[name] = heard.started.reused_tokens
    assert reused == {"first": 0, "stranger": 0, "again": len(PROMPT) - 1}


def test_the_pool_scopes_by_the_client() -> None:
    async def test() -> None:
        workshop = Workshop()
        async with pool_of(workshop) as pool:
            for client in ("owner", "page/guest-1"):
                async for _ in pool.generate(make_request("a", client=client)):
                    pass
            assert [one.scope for one in workshop.engines["a"].seen] == ["owner", "page/guest-1"]

    run(test())
