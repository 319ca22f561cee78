"""Every error upnext raises on purpose, in one tree; knows nothing of who catches it.

UpnextError
├── SettingsError            a setting is misspelt, of the wrong type, or out of range
├── DataError                input that cannot be used at all (a file of an unknown format, an empty log)
│   └── ContractError        one event or record breaks its contract: reason, field path
├── StoreError               the store cannot do what was asked
│   └── StoreTimeout         … before the deadline
├── ReleaseError             a release cannot be found, written or activated
│   ├── ReleaseCorrupt       a part is missing, truncated or altered
│   └── ParityError          an exported graph does not agree with its trained model
├── TrainingError            a model cannot be trained from this data, or a checkpoint does not fit
├── Overloaded               a producer must slow down: in how many seconds to try again
└── RequestError             the caller's request is wrong: field path, HTTP status

Errors of libraries are translated where they enter, to the most specific class here, with the cause kept.
"""


class UpnextError(Exception):
    """What happened, to what, and what to do next, in one sentence or two."""


class SettingsError(UpnextError):
    """A setting is misspelt, of the wrong type, or out of range."""


class DataError(UpnextError):
    """Input that cannot be used at all."""


class ContractError(DataError):
    """One event or record breaks its contract.

    `reason` is a short stable code (`timestamp_in_seconds`, `unknown_action`), fit for a counter label;
    `path` the field, as in `$.timestamp_ms`, or `$` for the whole.
    """

    def __init__(self, reason: str, message: str, path: str = "$") -> None:
        super().__init__(message)
        self.reason = reason
        self.path = path


class StoreError(UpnextError):
    """The store cannot do what was asked."""


class StoreTimeout(StoreError):
    """The store did not answer before the deadline."""


class ReleaseError(UpnextError):
    """A release cannot be found, written or activated."""


class ReleaseCorrupt(ReleaseError):
    """A part of a release is missing, truncated or altered."""


class ParityError(ReleaseError):
    """An exported graph does not agree with its trained model; the release is not written."""


class TrainingError(UpnextError):
    """A model cannot be trained from this data, or a checkpoint does not fit it."""


class Overloaded(UpnextError):
    """Nothing was taken, for want of room; the same again is welcome in `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestError(UpnextError):
    """The caller's request is wrong; `status` is the HTTP status, `path` the field (`$.k`)."""

    def __init__(self, message: str, *, path: str = "$", status: int = 400, code: str = "bad_request") -> None:
        super().__init__(message)
        self.path = path
        self.status = status
        self.code = code
