"""Where a model is and with which key, as far as a recipe and the environment can say it wrongly. A key is never told."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from langmill.api import MissingInput


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        _ = parts.port  # raises ValueError for what is none
    except ValueError:  # its words quote the address
        host = b""
    plain = url.isprintable() and not set(" @?#") & set(url)
    if not host or not plain or parts.scheme not in ("http", "https"):
        raise PydanticCustomError(
            "withheld",
            "no address of a server: http://HOST:PORT/v1 or https://HOST/v1, without a key in it (api_key_env names the variable "
            "that holds one)",
        )
    return url


Address = Annotated[str, AfterValidator(_address)]
"""The address of a server. What was found is not told where it is none: it may hold a password."""


def held(variable: str, place: str) -> str:
    """What an environment variable holds of a key, without the line's end that files of secrets bring along; empty where it
    holds none. Raises MissingInput for what can not be sent."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise MissingInput(
            f"{place}: the environment variable {variable} holds characters that no key has, such as a line's end or letters "
            f"beyond ASCII: export {variable}=…"
        )
    return key
