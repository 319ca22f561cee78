"""A training run interrupted and taken up again: one file, written whole or not at all; knows no model."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from upnext.errors import TrainingError

FORMAT = 1


def digest_of(*parts: bytes | memoryview) -> str:
    """One hexadecimal name for everything a run depends on: settings, seed, data."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def write_checkpoint(path: Path, digest: str, record: dict[str, Any]) -> None:
    """Replace the file at `path` atomically: after a crash it is the old checkpoint or the new one, never half of one.

    `record` may hold tensors and plain values, nested.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            torch.save({"format": FORMAT, "digest": digest, "record": record}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_checkpoint(path: Path, digest: str | None) -> dict[str, Any] | None:
    """The record written last, on the CPU; None when there is no file.

    Raises TrainingError when the file is not a checkpoint or was written by a run of another `digest`; None as digest
    accepts any. Nothing in the file is executed.
    """
    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise TrainingError(
                f"{path} has checkpoint format {content['format']}, not {FORMAT}; delete it and train anew"
            )
        found, record = content["digest"], content["record"]
    except FileNotFoundError:
        return None
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is not a readable checkpoint; delete it and train anew") from error
    if digest is not None and found != digest:
        raise TrainingError(
            f"{path} belongs to a run with other settings, seed or data; name another file or delete this one"
        )
    return dict(record)
