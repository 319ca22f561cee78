"""Logs with propensities as rounds for off-policy estimates: the Open Bandit Dataset, or lines of JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.domain.event import Event, User
from upnext.errors import DataError
from upnext.ingest.importers.open_bandit import USER_FEATURES, OpenBandit
from upnext.training.off_policy import Floats, Rounds, Terms


class RoundLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of JSON: what came of one thing shown, by which chance, and by which chance the other policy shows it.

    `modelled`: a guess at the reward of what was shown; `expected`: at that of what the other policy would show, on
    average. Both or neither, in all lines.
    """

    reward: float
    propensity: float
    target: float
    modelled: float | None = None
    expected: float | None = None


@dataclass(frozen=True)
class CampaignLogs:
    """The rounds of two policies over the same items of one campaign; actions and strata mean the same in both."""

    campaign: str
    logging: Rounds
    evaluated: Rounds
    shape: tuple[int, int]  # (n_strata, n_actions)


def open_bandit_logs(path: Path, logging: str, evaluated: str) -> list[CampaignLogs]:
    """The logs of policies `logging` and `evaluated`, by campaign; strata are positions, contexts hashed features.

    Raises `DataError` when there is no campaign with a log of both.
    """
    shown, clicked, users = _read(path)
    policies = {str(event.context["policy"]) for event in shown}
    for policy in (logging, evaluated):
        if policy not in policies:
            raise DataError(f"{path} has no log of policy {policy!r}, only of {', '.join(sorted(policies))}")
    codes = _one_hot_codes(users)
    logs = []
    for campaign in sorted({str(event.context["campaign"]) for event in shown}):
        events = [event for event in shown if event.context["campaign"] == campaign]
        items = {name: number for number, name in enumerate(sorted({event.item_id or "" for event in events}))}
        parts = [[event for event in events if event.context["policy"] == policy] for policy in (logging, evaluated)]
        if not all(parts):
            continue
        one, other = (_rounds(part, items, clicked, codes) for part in parts)
        n_strata = int(max(one.strata.max(), other.strata.max())) + 1
        logs.append(CampaignLogs(campaign, one, other, (n_strata, len(items))))
    if not logs:
        raise DataError(f"{path} has no campaign with logs of both {logging} and {evaluated}")
    return logs


def _read(path: Path) -> tuple[list[Event], set[str], dict[str, User]]:
    """Impressions, the ids of those clicked, and users by id."""
    shown: list[Event] = []
    clicked: set[str] = set()
    users: dict[str, User] = {}
    for record in OpenBandit(path).records():
        if isinstance(record, User):
            users[record.user_id] = record
        elif isinstance(record, Event) and record.action == "impression":
            shown.append(record)
        elif isinstance(record, Event) and record.request_id:
            clicked.add(record.request_id)
    return shown, clicked, users


def _one_hot_codes(users: dict[str, User]) -> dict[str, Floats]:
    """One-hot of each hashed feature, one after the other, by user id."""
    values = sorted({(name, user.attributes[name]) for user in users.values() for name in USER_FEATURES})
    place = {value: at for at, value in enumerate(values)}
    codes = {}
    for user_id, user in users.items():
        code = np.zeros(len(values))
        code[[place[name, user.attributes[name]] for name in USER_FEATURES]] = 1.0
        codes[user_id] = code
    return codes


def _rounds(events: list[Event], items: dict[str, int], clicked: set[str], codes: dict[str, Floats]) -> Rounds:
    positions = np.array([event.context["position"] for event in events], np.int64)
    return Rounds(
        actions=np.array([items[event.item_id or ""] for event in events], np.int64),
        strata=positions - 1,
        rewards=np.array([event.event_id in clicked for event in events], np.float64),
        propensities=np.array([event.context["propensity"] for event in events], np.float64),
        contexts=np.stack([codes[event.user_id or ""] for event in events]),
    )


def terms_from_lines(path: Path) -> tuple[Terms, bool]:
    """The terms in a file of one `RoundLine` per line, and whether they have guesses. Raises `DataError`."""
    lines = list(_lines(path))
    if not lines:
        raise DataError(f"{path} holds no line; write one JSON object per thing shown")
    guesses = {(line.modelled is None, line.expected is None) for line in lines}
    if len(guesses) > 1 or guesses & {(True, False), (False, True)}:
        raise DataError(f"{path} has `modelled` and `expected` in some lines only; give both in all, or in none")

    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([getattr(line, name) or 0.0 for line in lines])

    weights = column("target") / column("propensity")
    return Terms(weights, column("reward"), column("modelled"), column("expected")), (False, False) in guesses


def _lines(path: Path) -> Iterator[RoundLine]:
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            try:
                line = msgspec.json.decode(raw, type=RoundLine)
            except msgspec.DecodeError as error:
                raise DataError(f"line {number} of {path} is no round: {error}; see `upnext off-policy -h`") from error
            if not 0 < line.propensity <= 1 or not 0 <= line.target <= 1:
                raise DataError(f"line {number} of {path} has a probability that is none; propensities are above 0")
            yield line
