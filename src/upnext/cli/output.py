"""How a command gives its result to other programs: as JSON, on standard output or in a file; knows no command."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from upnext.cli.options import STANDARD_OUTPUT
from upnext.errors import DataError


def as_json(value: Any) -> bytes:
    """Indented, with a line's end. `value`: whatever msgspec encodes."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def hand_over(value: Any, json_path: Path | None) -> bool:
    """What `--json` asks for: nothing, or `value` printed, or written to a file, whole or not at all.

    Whether a person is to be told too: not where standard output holds JSON. Raises `DataError` for a file that cannot
    be written.
    """
    if json_path is None:
        return True
    if json_path == STANDARD_OUTPUT:
        click.echo(as_json(value), nl=False)
        return False
    draft = json_path.with_name(f"{json_path.name}.{os.getpid()}.tmp")
    try:
        if json_path.exists() and not json_path.is_file():  # a pipe, /dev/null
            json_path.write_bytes(as_json(value))
        else:
            draft.write_bytes(as_json(value))
            os.replace(draft, json_path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise DataError(f"{json_path} cannot be written ({error.strerror}); give --json another file") from error
    return True
