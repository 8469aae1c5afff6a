"""A driver that is not here, for what reads GPUs by NVML."""

# ruff: noqa: N802  # the names are pynvml's

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any


class Nvml(ModuleType):
    """pynvml, with answers as drivers give them. A device is a dictionary; a missing answer is an error."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801  # pynvml's name
        pass

    def __init__(self, *devices: dict[str, Any] | None, broken: bool = False) -> None:
        super().__init__("pynvml")
        self._devices, self._broken, self.opened = devices, broken, 0

    def nvmlInit(self) -> None:
        if self._broken:
            raise self.NVMLError("Driver/library version mismatch")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        device = self._devices[index]
        if device is None:
            raise self.NVMLError("GPU is lost")
        return device

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:
        if "parts" not in handle:
            raise self.NVMLError_NotSupported("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return len(handle["parts"])

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], place: int) -> dict[str, Any]:
        part: dict[str, Any] | None = handle["parts"][place]
        if part is None:
            raise self.NVMLError("Not Found")
        return part

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> SimpleNamespace:
        if "memory" not in handle:
            raise self.NVMLError_NotSupported("Not Supported")
        total, free = handle["memory"]
        return SimpleNamespace(total=total, free=free)

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str | bytes:
        uuid: str | bytes = handle["uuid"]
        return uuid

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str | bytes:
        name: str | bytes = handle["name"]
        return name
