"""How many Spaces this machine has room for at once, and whether it has room for one more now."""

from __future__ import annotations

import os
import shutil

import psutil

from spaces_runner import gpu
from spaces_runner.settings import Settings

MEMORY_BYTES = 2 * 1024**3  # an app with its packages; models come on top, and are seen once they are there
DISK_BYTES = 2 * 1024**3  # an environment without torch, and a checkout


def most(settings: Settings) -> int:
    """At once: one a GPU where there are any, else one for two cores; as memory allows, and at least one."""
    cards = len(gpu.inventory(settings.visible_gpus))
    able = cards or max(1, len(os.sched_getaffinity(0)) // 2)
    return max(1, min(able, psutil.virtual_memory().available // MEMORY_BYTES))


def lacks(settings: Settings) -> str:
    """What there is too little of for another Space beside those at work; "" where there is room."""
    if psutil.virtual_memory().available < MEMORY_BYTES:
        return "memory"
    settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    if shutil.disk_usage(settings.home_dir).free < settings.disk_floor_bytes + DISK_BYTES:
        return "disk"
    return ""
