"""Pictures → `data:` URLs, named by how they begin."""

from __future__ import annotations

import base64

_KINDS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def data_url(picture: bytes) -> str:
    kind = next((kind for start, kind in _KINDS if picture.startswith(start)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
