"""What is in deploy/ asks for metrics, labels and buckets that there are."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from upnext.metrics.names import BUCKETS_MS, COUNTERS, GAUGES, TIMES

ROOT = Path(__file__).resolve().parents[1]
ALERTS = (ROOT / "deploy" / "alerts.yaml").read_text()
DASHBOARD = (ROOT / "deploy" / "grafana.json").read_text()
LABELS = {f"upnext_{counter.name}_total": set(counter.labels) for counter in COUNTERS}
LABELS |= {f"upnext_{times.name}_{part}": {*times.labels, "le"} for times in TIMES for part in ("bucket", "count")}
LABELS |= {f"upnext_{gauge.name}": {"tenant"} for gauge in GAUGES}


@pytest.mark.parametrize("text", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_every_metric_and_label_asked_for_is_there(text: str) -> None:
    text = text.replace('\\"', '"')
    asked = re.findall(r"\b(upnext_\w+)(?:\{(.*?)\})?", text)
    assert asked
    for name, selectors in asked:
        assert name in LABELS, name
        assert set(re.findall(r"(\w+)\s*!?=", selectors)) <= LABELS[name], (name, selectors)


def test_every_bucket_asked_for_is_a_bound() -> None:
    bounds = {float(le) * 1_000 for le in re.findall(r'le="([\d.]+)"', ALERTS)}
    assert bounds
    assert bounds <= set(BUCKETS_MS)


def test_the_dashboard_is_what_the_script_prints() -> None:
    spec = importlib.util.spec_from_file_location("grafana", ROOT / "scripts" / "grafana_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert json.loads(DASHBOARD) == script.dashboard(), "run: python scripts/grafana_dashboard.py > deploy/grafana.json"
    places = [tuple(panel["gridPos"].values()) for panel in script.dashboard()["panels"]]
    assert len(set(places)) == len(places)
