"""Makes deploy/grafana.json, a Grafana dashboard over /metrics, from a table of panels.

python scripts/grafana_dashboard.py > deploy/grafana.json
"""

import json
from typing import Any

WIDTH = 24
_STAGES = ("total", "queue", "state", "retrieval", "ranking", "reranking")
_RATE = "[$__rate_interval]"


def quantile(of: float, family: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"1000 * histogram_quantile({of}, sum by ({labels}) (rate(upnext_{family}_bucket{{{where}}}{_RATE})))"


def rate(family: str, by: str) -> str:
    return f"sum by ({by}) (rate(upnext_{family}{_RATE}))"


# Title, unit, and the queries with their legends.
PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Slates per second, by tier", "reqps", [(rate("requests_total", "tier"), "{{tier}}")]),
    ("Slates per second, by route", "reqps", [(rate("requests_total", "route"), "{{route}}")]),
    (
        "Whole slate",
        "ms",
        [
            (quantile(of, "stage_duration_seconds", where='stage="total"'), f"p{100 * of:g}")
            for of in (0.5, 0.99, 0.999)
        ],
    ),
    (
        "p99 by stage",
        "ms",
        [(quantile(0.99, "stage_duration_seconds", where=f'stage="{stage}"'), stage) for stage in _STAGES],
    ),
    ("p99 by tier", "ms", [(quantile(0.99, "request_duration_seconds", "tier"), "{{tier}}")]),
    ("p99 by region", "ms", [(quantile(0.99, "region_duration_seconds", "region"), "{{region}}")]),
    (
        "p99 by length of history",
        "ms",
        [(quantile(0.99, "history_duration_seconds", "interactions"), "{{interactions}}")],
    ),
    ("Got less than they could have", "reqps", [(rate("degraded_total", "stage, why"), "{{stage}}: {{why}}")]),
    ("Breakers that open", "reqps", [(rate("breaker_transitions_total", "breaker, state"), "{{breaker}} {{state}}")]),
    (
        "Quality factor and room",
        "none",
        [
            ("upnext_quality_factor", "quality {{tenant}}"),
            ("upnext_admission_limit", "full requests at once {{tenant}}"),
        ],
    ),
    (
        "Events per second",
        "reqps",
        [
            (rate("events_total", "outcome"), "{{outcome}}"),
            (rate("events_rejected_total", "reason"), "refused: {{reason}}"),
        ],
    ),
    (
        "How far behind the log",
        "none",
        [
            ("upnext_session_lag_events", "states {{tenant}}"),
            ("upnext_crowd_lag_events", "crowd {{tenant}}"),
            ("upnext_impressions_lag_events", "slates {{tenant}}"),
        ],
    ),
    (
        "Dead letters",
        "none",
        [("upnext_dead_letters", "waiting {{tenant}}"), ("upnext_dead_letters_dropped", "dropped {{tenant}}")],
    ),
    (
        "Workers, lost threads",
        "none",
        [("upnext_workers", "workers {{tenant}}"), ("upnext_threads_lost", "threads lost {{tenant}}")],
    ),
    ("Age of the release", "s", [("time() - upnext_release_created_timestamp_seconds", "{{tenant}}")]),
    ("Shortlists at hand", "none", [("upnext_shortlists_at_hand", "{{tenant}}")]),
]


def panel(number: int, title: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % 2 * WIDTH // 2, "y": number // 2 * 8, "w": WIDTH // 2, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(queries)
        ],
    }


def dashboard() -> dict[str, Any]:
    return {
        "uid": "upnext",
        "title": "upnext",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [panel(number, *each) for number, each in enumerate(PANELS)],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
