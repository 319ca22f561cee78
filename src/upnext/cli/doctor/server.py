"""Whether a running server is ready and serves what is active here; judges what it answered."""

import msgspec

from upnext.cli.doctor.check import Check, ok, problem, warning

_GROUP = "server"


class _Ready(msgspec.Struct):
    status: str
    release: str | None = None


def check_server(url: str, answer: bytes | None, error: str, active_id: str | None) -> list[Check]:
    """`answer`: what /readyz said, None with an `error`. `active_id`: the release that this home has active."""
    if answer is None:
        advice = "start it (upnext serve), or wait: it is ready once its release is warm"
        return [problem(_GROUP, "ready", error, advice)]
    try:
        ready = msgspec.json.decode(answer, type=_Ready)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return [problem(_GROUP, "ready", f"{url} is no upnext server", "give the address of one with --url")]
    checks = [ok(_GROUP, "ready", url)]
    if ready.release == active_id:
        return [*checks, ok(_GROUP, "release", "the active one")]
    advice = "it follows within a second, where it serves this home: see its log for why it does not, and --url"
    return [*checks, warning(_GROUP, "release", f"serves {ready.release}, active here is {active_id}", advice)]
