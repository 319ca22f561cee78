"""What those who run the server ask: alive, ready, metrics, the OpenAPI document."""

import msgspec

from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.openapi import openapi_document

_JSON = "application/json"


class Operations:
    """Endpoints for machines and people who operate."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._openapi = msgspec.json.encode(openapi_document())

    def healthz(self) -> tuple[int, bytes, str]:
        """200 as long as the event loop turns."""
        return 200, b'{"status":"ok"}', _JSON

    def readyz(self) -> tuple[int, bytes, str]:
        """200 once a release is open and warm, 503 before."""
        live = self._engine.live
        if live is None:
            return 503, b'{"status":"warming up"}', _JSON
        return 200, msgspec.json.encode({"status": "ready", "release": live.release_id}), _JSON

    def metrics(self) -> tuple[int, bytes, str]:
        """Prometheus text, for all workers."""
        return 200, self._metrics.exposition(), self._metrics.content_type

    def openapi(self) -> tuple[int, bytes, str]:
        """The OpenAPI 3.1 document of this server."""
        return 200, self._openapi, _JSON
