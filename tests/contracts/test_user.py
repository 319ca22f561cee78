"""What the contract of users accepts and refuses."""

import json

import pytest

from upnext.contracts.gate import admit_users
from upnext.domain.event import User

ANN = {"user_id": "ann", "attributes": {"age": 30, "country": "fr", "tags": ["a", None]}}


def test_every_field_of_the_wire_reaches_the_user() -> None:
    body = json.dumps({"users": [{**ANN, "tenant": "shop", "producer": "crm", "schema_version": 1}]}).encode()
    assert admit_users(body, "application/json", tenant="shop").records == [User(**ANN, tenant="shop")]


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"user_id": None}, "missing_user", "$.user_id"),
        ({"user_id": ""}, "empty_id", "$.user_id"),
        ({"user_id": "x" * 257}, "id_too_long", "$.user_id"),
        ({"user_id": 5}, "wrong_type", "$.user_id"),
        ({"attributes": []}, "wrong_type", "$.attributes"),
        ({"attributes": {str(key): 1 for key in range(65)}}, "too_many_entries", "$.attributes"),
        ({"attributes": {"a": "x" * 16_384}}, "context_too_large", "$.attributes"),
        ({"tenant": "a b"}, "bad_tenant", "$.tenant"),
        ({"schema_version": 9}, "unknown_schema", "$.schema_version"),
    ],
)
def test_a_broken_field_is_refused_with_its_reason_and_path(changes: dict, reason: str, path: str) -> None:
    (refused,) = admit_users(json.dumps({**ANN, **changes}).encode(), "application/json").refused
    assert (refused.error.reason, refused.error.path) == (reason, path)
    assert refused.error.path in str(refused.error)
