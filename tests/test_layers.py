"""Imports point down only, and the server starts without anything that learns."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "upnext"

# From the top down: a part may import those after it. Files at the root of the package are parts of their own.
ORDER = (
    "__main__", "cli", "bench", "serve", "console", "ahead", "funnel", "compress", "training", "models",
    "release", "index", "features", "catalog", "state", "ingest", "store", "contracts", "metrics",
    "settings", "domain", "shared_memory", "clock", "errors",
)  # fmt: skip
ONLINE = {"serve", "console", "ahead", "funnel"}
OFFLINE = {"compress", "training", "models"}
LEARNING_LIBRARIES = ("torch", "onnx", "sklearn", "scipy", "implicit", "matplotlib", "xgboost")


def part_of(module: str) -> str:
    """`upnext.store.interface` -> `store`; the package itself, which holds the version alone, -> ``."""
    return module.partition(".")[2].partition(".")[0]


def imported_modules(path: Path, source: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every module of upnext that a file imports, wherever in the file."""
    package = ["upnext", *path.relative_to(source).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "upnext" else [module]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "upnext")


def is_allowed(importer: str, imported: str) -> bool:
    if importer == imported or imported in {"", "__version__"} or importer == "cli":
        return True
    if {importer, imported} & ONLINE and {importer, imported} & OFFLINE:
        return False
    if importer == "bench" and imported in ONLINE | OFFLINE:
        return False
    return ORDER.index(importer) < ORDER.index(imported)


def violations(source: Path) -> list[str]:
    return [
        f"{path.relative_to(source)}:{line} imports {module}: {part_of(module)} is not below {importer}"
        for path in sorted(source.rglob("*.py"))
        if (importer := path.relative_to(source).parts[0].removesuffix(".py")) != "__init__"
        for line, module in imported_modules(path, source)
        if not is_allowed(importer, part_of(module))
    ]


def test_imports_point_down_only() -> None:
    found = violations(SOURCE)
    assert not found, "\n".join(found)


def test_every_part_has_its_place_in_the_order() -> None:
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert parts <= set(ORDER), f"without a place in ORDER: {parts - set(ORDER)}"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        (
            "store/a.py",
            "import upnext.state.crowd",
            "store/a.py:1 imports upnext.state.crowd: state is not below store",
        ),
        ("models/a.py", "from upnext.funnel import live", "funnel is not below models"),
        ("funnel/a.py", "def f():\n    from upnext.training.splits import Split", "funnel/a.py:2 imports upnext.tr"),
        ("bench/a.py", "from upnext.serve.app import App", "serve is not below bench"),
        ("state/a.py", "from ..funnel.live import Live", "funnel is not below state"),
        ("errors.py", "from upnext import clock", "errors.py:1 imports upnext.clock"),
    ],
)
def test_an_import_that_points_up_or_across_is_named(tmp_path: Path, file: str, line: str, complaint: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(line)
    assert complaint in "\n".join(violations(tmp_path))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("cli/main.py", "from upnext.training.splits import Split\nfrom upnext.serve.app import App"),
        ("funnel/a.py", "from upnext import __version__\nfrom upnext.funnel.ranking import ranker\nimport numpy"),
        ("state/a.py", "from .user_state import UserState\nfrom ..errors import StoreError"),
    ],
)
def test_an_import_that_points_down_is_not(tmp_path: Path, file: str, line: str) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(line)
    assert violations(tmp_path) == []


def test_the_server_loads_nothing_that_learns() -> None:
    code = f"import sys, upnext.serve.app; print(*sorted(set(sys.modules) & set({LEARNING_LIBRARIES!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
