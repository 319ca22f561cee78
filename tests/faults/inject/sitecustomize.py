"""Faults for a server that knows nothing of them: with this folder in PYTHONPATH, all its processes have them built in.

Python imports `sitecustomize` when it starts. Where the environment names a folder in `FAULTS_FOLDER`, the models and
indexes are wrapped as soon as they are imported. What is wrong with them now, files in that folder say: `ranker` makes
the ranker fail, `index` the vector search, `session_model` the session encoder. A number in the file is for how many
seconds each call hangs before it does its work; an empty file makes each call raise. Without the file all is well.

A call that hangs sleeps, and lets other threads of its process run.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = "FAULTS_FOLDER"
# The file's name; the module, the class and the method that it is wrong with.
TARGETS = (
    ("ranker", "upnext.funnel.ranking.ranker", "GraphRanker", "score"),
    ("index", "upnext.index.faiss_index", "FaissIndex", "search"),
    ("session_model", "upnext.features.session_stepper", "GraphStepper", "step_rows"),
)


class InjectedFault(Exception):
    """No error that the product knows, as that of a native library would be."""


def faulty(method: Callable[..., Any], file: Path) -> Callable[..., Any]:
    """`method`, but for what `file` says at each call."""
    path = str(file)

    @wraps(method)
    def called(*arguments: Any, **named: Any) -> Any:
        try:
            with open(path) as told:
                hang_s = told.read()
        except OSError:
            return method(*arguments, **named)
        if not hang_s:
            raise InjectedFault(f"{file.name} was told to fail")
        time.sleep(float(hang_s))
        return method(*arguments, **named)

    return called


class Finder:
    """Finds the modules of `TARGETS` as others would, and wraps what is in them once they are loaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at_it: set[str] = set()  # being looked for by the other finders

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wrapped = [row for row in TARGETS if row[1] == name]
        if not wrapped or name in self._at_it:
            return None
        self._at_it.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._at_it.discard(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            load(module)
            for file, _, owner, method in wrapped:
                found = getattr(module, owner)
                setattr(found, method, faulty(getattr(found, method), self._folder / file))

        spec.loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec


if FOLDER in os.environ:
    sys.meta_path.insert(0, Finder(Path(os.environ[FOLDER])))
