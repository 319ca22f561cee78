"""How deep JSON is nested, and a cheap proof that it is not deep; knows no records."""

import re

from upnext.errors import ContractError

MAX_DEPTH = 32
# Possessive, so that no text makes it look back.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_AS_ROUND = bytes.maketrans(b"[]{}", b"()()")


def depth_of(json: bytes) -> int:
    """Most levels of objects and arrays within each other, counted to 33 at most; `json` is JSON."""
    brackets = _STRING.sub(b"", json).translate(_AS_ROUND, _NOT_BRACKETS)
    depth = 0
    while brackets and depth <= MAX_DEPTH:
        brackets = brackets.replace(b"()", b"")  # the innermost level
        depth += 1
    return depth


def brackets_opened(json: bytes) -> int:
    """How many objects and arrays there are at most, which their depth cannot exceed; quick."""
    return json.count(b"{") + json.count(b"[")


def check_depth(json: bytes) -> None:
    """Raises `ContractError` for one record, that is JSON, of more than 32 levels."""
    if brackets_opened(json) > MAX_DEPTH and depth_of(json) > MAX_DEPTH:
        raise too_deep("$")


def too_deep(path: str) -> ContractError:
    return ContractError("too_deep", f"{path} is nested in more than {MAX_DEPTH} levels; send flat objects", path)
