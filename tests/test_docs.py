"""The documents say nothing that is not so: commands, paths, settings, endpoints and examples exist and fit."""

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec
import pytest

import upnext
from upnext.cli.main import cli
from upnext.contracts.gate import Admitted, admit_events, admit_items, admit_users
from upnext.metrics.recorder import Metrics
from upnext.serve import messages
from upnext.serve.openapi import RECORDS, openapi_document
from upnext.settings import Settings, load_settings, load_table, settings_table

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "upnext"
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
HTTP = (ROOT / "docs" / "http.md").read_text("utf-8")
NOW_MS = 1_760_000_000_000

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"(?<![\w./$-])(?:[\w.-]+/)*[\w-]+\.(?:py|md|sh)\b")
FOLDER = re.compile(r"(?:[a-z_]+/)+")


def fences(page: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block."""
    return FENCE.findall(page)


def inline_code(page: str) -> list[str]:
    return INLINE.findall(FENCE.sub("", page))


def commands(page: str) -> Iterator[list[str]]:
    """Words of every command line: those after `$ ` in console blocks, and inline code, without comments."""
    for language, text in fences(page):
        if language.startswith("console"):
            for line in text.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    yield shlex.split(line[2:], comments=True)
        elif language == "":
            yield from (shlex.split(line, comments=True) for line in text.splitlines() if is_command(line))
    yield from (shlex.split(code) for code in inline_code(page) if is_command(code))


def is_command(text: str) -> bool:
    return text.lstrip().startswith(("upnext ", "make ", "python "))


def problem_with(words: list[str]) -> str | None:
    """What is wrong with a command line of upnext, as the click tree sees it; None when nothing is."""
    command: click.Command = cli
    arguments = words[1:]
    while isinstance(command, click.Group):
        if not arguments or arguments[0] not in command.commands:
            return f"has no command {' '.join(arguments[:1])!r}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    try:
        given, left, _ = command.make_parser(click.Context(command, info_name=command.name)).parse_args(arguments)
    except click.UsageError as error:
        return error.format_message()
    if left:
        return f"does not take {left}"
    for parameter in command.params:
        values = given.get(parameter.name)
        if (
            isinstance(parameter.type, click.Choice)
            and isinstance(values, str)
            and values not in parameter.type.choices
        ):
            return f"{parameter.name} {values!r} is none of {', '.join(parameter.type.choices)}"
    overrides = given.get("overrides")
    return wrong_settings(command.name, overrides) if isinstance(overrides, list) else None


def wrong_settings(command: str | None, overrides: list[str]) -> str | None:
    from upnext.cli.pipeline.plan import TrainSettings
    from upnext.errors import SettingsError

    try:
        if command == "train":
            load_table(TrainSettings, None, None, overrides)
        else:
            load_settings(overrides=overrides)
    except SettingsError as error:
        return str(error)
    return None


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> str:
    return Path(request.param).read_text("utf-8")


def test_every_command_line_of_upnext_exists_with_its_options(page: str) -> None:
    shown = [words for words in commands(page) if words[0] == "upnext"]
    found = {" ".join(words): problem for words in shown if (problem := problem_with(words))}
    # "`upnext release`" alone speaks of a group of commands.
    groups = {f"upnext {name}" for name, command in cli.commands.items() if isinstance(command, click.Group)}
    assert not {line: problem for line, problem in found.items() if line not in groups}


def test_every_make_target_exists(page: str) -> None:
    targets = {words[1] for words in commands(page) if words[0] == "make"}
    assert targets <= make_targets(), targets - make_targets()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("upnext serv --home shop", "has no command"),
        ("upnext serve --hom shop", "No such option"),
        ("upnext serve shop", "does not take"),
        ("upnext train --home shop --split tim", "is none of"),
        ("upnext train --home shop --set session.epoch=1", "there is no setting"),
        ("upnext release sho", "has no command"),
        ("upnext train --home", "requires an argument"),
    ],
)
def test_a_command_line_that_does_not_exist_is_noticed(line: str, problem: str) -> None:
    assert problem in (problem_with(line.split()) or "")


def test_the_readme_shows_every_command_and_its_two_first_ones() -> None:
    shown = list(commands((ROOT / "README.md").read_text("utf-8")))
    assert set(cli.commands) <= {words[1] for words in shown if words[0] == "upnext"}
    assert [words for words in shown if words[0] == "make"][:2] == [["make", "demo"], ["make", "test"]]


def exists(path: str) -> bool:
    """A path of the repository, or of the package for short."""
    return any((above / path).exists() for above in (ROOT, SOURCE))


@pytest.mark.parametrize("path", PAGES[:-1], ids=NAMES[:-1])  # the last names files that its commands write
def test_every_file_and_folder_spoken_of_exists(path: Path) -> None:
    page = path.read_text("utf-8")
    code = [*inline_code(page), *(text for language, text in fences(page) if not language.startswith("json"))]
    spoken = {file for text in code for file in FILE.findall(text)}
    spoken |= {text for text in inline_code(page) if FOLDER.fullmatch(text)}
    assert not {path for path in spoken if not exists(path)}


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_or_heading(path: Path) -> None:
    page = path.read_text("utf-8")
    for target in LINK.findall(FENCE.sub("", page)):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), target
        assert not heading or heading in headings_of(linked.read_text("utf-8")), target


def headings_of(page: str) -> set[str]:
    """Anchors as they are made of headings: lower case, punctuation dropped, blanks to dashes."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_folder_of_the_package_has_a_heading_in_the_architecture() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    told = {name for heading in re.findall(r"^### (.+)$", page, re.MULTILINE) for name in INLINE.findall(heading)}
    folders = {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("*.py") if path.parent != SOURCE}
    assert {name for name in told if name.endswith("/")} == folders


def test_the_architecture_tells_the_order_of_imports_that_is_proved() -> None:
    (told,) = [text for language, text in fences((ROOT / "ARCHITECTURE.md").read_text("utf-8")) if "order" in language]
    there = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    order = _constant(ROOT / "tests" / "test_layers.py", "ORDER")
    assert told.replace(">", " ").split() == [part for part in order if part in there]


def _constant(path: Path, name: str) -> Any:
    """The value of a constant of a module, without running it."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no constant {name}")


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## \[([^\]]+)\]", page, re.MULTILINE)
    assert first is not None
    assert first.group(1) == upnext.__version__
    assert f'version = "{upnext.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def settings_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_script", ROOT / "scripts" / "settings_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_what_the_script_prints(settings_script: ModuleType) -> None:
    written = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert written == settings_script.document(), "run: python scripts/settings_table.py > docs/settings.md"


def test_every_setting_is_told_with_its_meaning() -> None:
    rows = re.findall(
        r"^\| `(\w+\.\w+)` \| `(.*?)` \| (\w*) \| (.*) \|$", (ROOT / "docs" / "settings.md").read_text(), re.M
    )
    assert [name for name, *_ in rows] == [name for name, _ in settings_table(Settings())]
    assert all(meaning.strip() for *_, meaning in rows)


def test_meanings_are_the_comments_beside_or_right_above_a_setting(settings_script: ModuleType) -> None:
    source = (
        'class A:\n    """Title.\n\n    More."""\n\n    b: int = 1  # beside\n'
        "    # above,\n    # twice\n    c: int = 2\n    d: int = (\n        3  # within\n    )\n    e: int = 4\n"
    )
    fields, titles = settings_script.meanings(source)
    assert fields == {"A": {"b": "beside", "c": "above, twice", "d": "within", "e": ""}}
    assert titles == {"A": "Title."}


def test_the_http_page_has_every_endpoint_and_no_other() -> None:
    paths = openapi_document()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(re.findall(r"^## ((?:GET|POST|DELETE) \S+)$", HTTP, re.MULTILINE)) == served
    assert set(re.findall(r"^\| \[`(.+?)`\]", HTTP, re.MULTILINE)) == served


TAKEN: dict[str, Callable[[bytes], Admitted[Any]]] = {
    "Event": lambda body: admit_events(body, "application/json", now_ms=NOW_MS),
    "Item": lambda body: admit_items(body, "application/json"),
    "User": lambda body: admit_users(body, "application/json"),
}
EXAMPLES = [(*language.split()[1:], text) for language, text in fences(HTTP) if language.startswith("json ")]


@pytest.mark.parametrize(("side", "record", "text"), EXAMPLES, ids=[f"{side} {name}" for side, name, _ in EXAMPLES])
def test_json_examples_are_what_the_server_reads_and_writes(side: str, record: str, text: str) -> None:
    if record in TAKEN:
        admitted = TAKEN[record](text.encode())
        assert (len(admitted.records), admitted.refused, side) == (1, [], "request")
        fields = set(openapi_document()["components"]["schemas"][record]["properties"])
        assert not set(json.loads(text)) - fields
        return
    kind = {each.__name__: each for each in RECORDS}[record]
    assert record.endswith("Request") == (side == "request")
    decoded = msgspec.json.decode(text, type=kind)
    # Written again it has the same fields: none is made up.
    assert _holds(json.loads(text), json.loads(msgspec.json.encode(decoded)))


def _holds(told: Any, made: Any) -> bool:
    """Whether all that is told is in what was made, field by field."""
    if isinstance(told, dict):
        return all(key in made and _holds(value, made[key]) for key, value in told.items())
    if isinstance(told, list):
        return len(told) == len(made) and all(map(_holds, told, made))
    return bool(told == made)


def test_the_json_examples_of_the_readme_are_what_the_server_writes() -> None:
    texts = [text for language, text in fences((ROOT / "README.md").read_text("utf-8")) if language == "json"]
    kinds = (messages.RecommendResponse, messages.EventsResponse, messages.RecommendResponse, messages.ErrorResponse)
    for text, kind in zip(texts, kinds, strict=True):
        assert _holds(json.loads(text), json.loads(msgspec.json.encode(msgspec.json.decode(text, type=kind))))


def test_every_field_of_a_request_and_response_is_told() -> None:
    schemas = openapi_document()["components"]["schemas"]
    fields = {name for schema in schemas.values() for name in schema.get("properties", {})}
    assert {"budget_ms", "withheld", "published_ms", "dropped_by_age", "after_upgrade", "base64"} <= fields
    assert not {name for name in fields if not re.search(rf"\b{name}\b", HTTP)}


def strings_given(folder: Path, function: str, place: int, keyword: str = "") -> set[str]:
    """Constant strings that a function is given at a place, or by a keyword, anywhere in a folder."""
    given: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                values = [*node.args[place : place + 1], *(each.value for each in node.keywords if each.arg == keyword)]
                given |= {str(each.value) for each in values if isinstance(each, ast.Constant)}
    return given


def test_every_reason_and_code_of_a_failure_is_told() -> None:
    reasons = strings_given(SOURCE / "contracts", "ContractError", 0)
    reasons |= {f"timestamp_in_{unit}" for unit in ("seconds", "microseconds", "nanoseconds")}
    codes = strings_given(SOURCE / "serve", "failure", 1) | strings_given(SOURCE / "serve", "failure_body", 0)
    codes |= strings_given(SOURCE / "serve", "RequestError", 9, "code") | {"not_found", "method_not_allowed"}
    assert len(reasons) > 10
    assert len(codes) > 8
    assert not {name for name in reasons | codes if f"`{name}`" not in HTTP}
    table = HTTP[HTTP.index("| the fault is in |") : HTTP.index("## POST /v1/items")]
    assert set(re.findall(r"`(\w+)`", table)) == reasons


def test_every_metric_is_told_and_no_other() -> None:
    told = set(re.findall(r"`(upnext_\w+)`", HTTP))
    metrics = Metrics()
    metrics.count_request("full", "live", {"total": 1.0})
    metrics.count_degraded("ranking", "deadline")
    metrics.count_rejected("unknown_action")
    metrics.observe_stage("total", 1.0)
    there = re.findall(r"^# TYPE (\w+) ", metrics.exposition().decode(), re.MULTILINE)
    assert told == set(there)
