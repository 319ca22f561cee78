"""The families of records of the shipped contract, as their schemas group them; knows nothing of values."""

from upnext.contracts.registry import Registry, Schema, load_registry
from upnext.contracts.wire import wire_struct
from upnext.errors import ContractError

ITEM = "item"
USER = "user"
REGISTRY = load_registry()


def event_families(registry: Registry) -> list[Schema]:
    """The newest schema of every family of events: those that name actions."""
    return [latest for family in registry.families if (latest := registry.latest(family)).actions]


FAMILY_OF_ACTION = {action: schema.family for schema in event_families(REGISTRY) for action in schema.actions}
EventOnWire = wire_struct("EventOnWire", event_families(REGISTRY))
ItemOnWire = wire_struct("ItemOnWire", [REGISTRY.latest(ITEM)])
UserOnWire = wire_struct("UserOnWire", [REGISTRY.latest(USER)])


def check_version(family: str, version: int) -> None:
    """Raises `ContractError` for a version of a family that is not known here."""
    if not REGISTRY.has(family, version):
        newest = REGISTRY.latest(family).version
        message = f"$.schema_version {version} of {family} is not known here; send {newest} or older"
        raise ContractError("unknown_schema", message, "$.schema_version")
