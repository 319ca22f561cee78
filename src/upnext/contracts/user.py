"""The contract of what is known of a user: from the wire or ready made in, an accepted one or the reason against it."""

from typing import Any

from upnext.contracts.families import USER, UserOnWire, check_version
from upnext.contracts.fields import (
    check_id,
    check_map,
    check_tenant,
    wrong_tenant,
)
from upnext.contracts.json_body import Accept, JsonReader
from upnext.domain.event import User
from upnext.errors import ContractError

USERS_IN_JSON = JsonReader(UserOnWire, "users", "attributes")


def check_user(user: User) -> None:
    """Raises `ContractError` unless the record keeps the contract: an id, small attributes, a possible tenant."""
    check_id(user.user_id, "$.user_id")
    check_map(user.attributes, "$.attributes")
    check_tenant(user.tenant, "$.tenant")


def user_acceptor(tenant: str | None) -> Accept[User]:
    """Makes a `User` of a `UserOnWire`, or raises `ContractError`; `tenant` as for `event_acceptor`."""

    def accept(wire: Any) -> User:
        if wire.user_id is None:
            raise ContractError("missing_user", "$.user_id is missing; send it", "$.user_id")
        named = (tenant or "default") if wire.tenant is None else wire.tenant
        user = User(user_id=wire.user_id, attributes=wire.attributes or {}, tenant=named)
        check_user(user)
        check_version(USER, wire.schema_version)
        if tenant is not None and user.tenant != tenant:
            raise wrong_tenant(user.tenant, tenant)
        return user

    return accept
