"""Pictures as they stand in a request → their bytes. Decoding the pixels is the pool's work, not ours."""

from __future__ import annotations

import base64
import binascii
import re

from app.inference.errors import BadImage, BadRequest, ImagesNotSupported

MARK = "<image>"  # where a picture stands in a prompt

MAX_BYTES = 10 * 2**20  # of one picture
MAX_PICTURES = 7  # in one request: of 576 tokens each, more leave LLaVA's 4,096 no room for words
_DATA_URL = re.compile(r"data:image/(?:png|jpeg|jpg|webp|gif)(?:;[\w-]+=[\w.+-]+)*;base64,", re.IGNORECASE)


def from_data_url(url: str, param: str) -> bytes:
    """The bytes of a `data:` URL. Nothing is fetched: an address could name what only this machine may read."""
    start = _DATA_URL.match(url)
    if start is None:
        raise BadImage(
            f"{param} must be a data: URL of a PNG, JPEG, WebP or GIF picture in base64.",
            hint="Pictures are not fetched from addresses: send the picture itself, as data:image/png;base64,….",
            param=param,
        )
    if (len(url) - start.end()) // 4 * 3 > MAX_BYTES + 2:
        raise BadImage(f"{param} is too large; a picture has at most {MAX_BYTES} bytes.", param=param)
    try:
        picture = base64.b64decode(url[start.end() :].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadImage(f"{param} is not valid base64.", param=param) from error
    if not picture:
        raise BadImage(f"{param} is an empty picture.", param=param)
    return picture


def no_mark(text: str, param: str) -> None:
    """For a raw prompt to a model that sees. Raises BadRequest for a mark without a picture."""
    if MARK in text:
        raise BadRequest(f"{MARK} stands for a picture, and none came with it.", param=param)


def none_here(count: int, param: str) -> None:
    """For a model that reads text alone. Raises ImagesNotSupported."""
    if count:
        raise ImagesNotSupported(
            "The model reads text alone; it cannot look at a picture.",
            hint="Leave the picture out, or ask a model that sees.",
            param=param,
        )


def few_enough(count: int, param: str) -> None:
    if count > MAX_PICTURES:
        raise BadImage(f"There are {count} pictures; one request has at most {MAX_PICTURES}.", param=param)
