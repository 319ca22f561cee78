"""The page about contracts is right: its example runs, its table is complete, its command prints what is shown."""

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from upnext.cli.contracts_command import contracts_command
from upnext.contracts.families import FAMILY_OF_ACTION, REGISTRY
from upnext.contracts.gate import admit_events

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "contracts.md").read_text("utf-8")
NOW_MS = 1_760_000_000_000


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_json_example_and_the_python_example_send_the_same_click() -> None:
    (code,) = fenced("python")
    names: dict[str, object] = {}
    exec(compile(code, "docs/contracts.md", "exec"), names)
    body = names["body"]
    assert isinstance(body, bytes)
    (sent,) = admit_events(body, "avro/binary", now_ms=NOW_MS).records
    (told,) = admit_events(fenced("json")[0].encode(), "application/json", now_ms=NOW_MS).records
    assert (sent.event_id, sent.action, sent.item_id) == (told.event_id, told.action, told.item_id)


def test_every_reason_is_in_the_table_and_no_other() -> None:
    used: set[str] = {f"timestamp_in_{unit}" for unit in ("seconds", "microseconds", "nanoseconds")}
    for path in (ROOT / "src" / "upnext" / "contracts").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ContractError":
                used |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    table = PAGE[PAGE.index("| reason |") : PAGE.index("## Evolution")]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert told == used


def test_every_family_and_action_is_told() -> None:
    assert {name.split("/")[0] for name in (schema.name for schema in REGISTRY.schemas)} <= set(
        re.findall(r"`(\w+)`", PAGE)
    )
    assert all(action in PAGE for action in FAMILY_OF_ACTION)


def test_the_worked_example_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [block for block in fenced("console") if " check " in block]
    fields = [json.loads(text) for text in fenced("json")[1:]]
    assert len(runs) == len(fields) == 2
    for block, field in zip(runs, fields, strict=True):
        schema = json.loads(REGISTRY.get("interaction", 1).text)
        schema["fields"].append(field)
        Path("2.avsc").write_text(json.dumps(schema))
        command, _, output = block.partition("\n")
        result = CliRunner().invoke(contracts_command, command.split()[3:])
        assert result.output == output
        assert result.exit_code == (0 if "compatible" in output else 1)
