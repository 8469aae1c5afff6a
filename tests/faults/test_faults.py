"""Nothing lost, no one in: each fault is injected for real, and afterwards all that is promised is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import invariants
from tests.faults.table import BY_KIND, FAULTS, Named
from tests.faults.world import world
from tests.support.share import Share


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_promised_holds_after(fault: Named, seed: int, share: Share, examined: Path) -> None:
    with world(f"{fault} {seed}", share, examined, small_disk=fault.small_disk) as one:
        fault.inject(one)
        invariants.hold(one)


def test_there_are_as_many_as_are_promised() -> None:
    assert (len(BY_KIND), len(FAULTS)) == (15, 40)
