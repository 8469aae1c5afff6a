"""What a benchmark yields: rows with their bars, printed as a table and written as JSON."""

from __future__ import annotations

import json
import operator
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_HOLDS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement. `bar` is what must hold ("<= 1.15"), or "" for a figure that only stands beside others."""

    name: str
    value: float
    unit: str
    bar: str = ""

    @property
    def holds(self) -> bool:
        if not self.bar:
            return True
        sign, limit = self.bar.split()
        return _HOLDS[sign](self.value, float(limit))


def machine() -> str:
    """The machine in one line: processor, cores, memory, system."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next((int(line.split()[1]) / 1024**2 for line in _lines("/proc/meminfo") if "MemTotal" in line), 0.0)
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measure | value | bar | holds |", "|---|---|---|---|"]
    for row in rows:
        holds = ("yes" if row.holds else "**no**") if row.bar else ""
        lines.append(
            f"| {row.name} | {row.value:g} {row.unit} | {row.bar.replace('<=', '≤').replace('>=', '≥')} | {holds} |"
        )
    return "\n".join(lines)


def publish(name: str, rows: Sequence[Row]) -> int:
    """Print the table, write `results/<name>.json`; 0 when every bar holds, else 1."""
    listed = [{**asdict(row), "holds": row.holds} for row in rows]
    (RESULTS / f"{name}.json").write_text(json.dumps(listed, indent=1) + "\n")
    heading = f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine()}."
    (RESULTS / f"{name}.md").write_text(f"{heading}\n\n{table(rows)}\n")
    sys.stdout.write(f"{heading}\n\n{table(rows)}\n")
    return 0 if all(row.holds for row in rows) else 1


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
