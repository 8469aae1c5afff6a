"""What the tests of the state database have in common: a Space of the Hub, a run that ends, and where the state is."""

from __future__ import annotations

from pathlib import Path

import pytest

from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import RefKind, SpaceRef, Stage, StageChanged

HUB = SpaceRef(kind=RefKind.HUB, source="Owner/Some_Space")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "state"))


def ended(store: Store, run_id: str, stage: Stage = Stage.STOPPED) -> None:
    store.record(run_id, StageChanged(at=1.0, stage=stage), {"stage": stage})
