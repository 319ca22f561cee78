"""The session encoders by name, and the door to them; one line per kind."""

from upnext.models.session_encoder import SessionConfig, SessionEncoder
from upnext.models.session_gated import GatedEncoder
from upnext.models.session_gru import GruEncoder
from upnext.models.session_lru import LruEncoder

__all__ = ["GatedEncoder", "GruEncoder", "LruEncoder", "SessionConfig", "SessionEncoder", "session_encoder"]

KINDS: dict[str, type[SessionEncoder]] = {"gated": GatedEncoder, "lru": LruEncoder, "gru": GruEncoder}


def session_encoder(n_items: int, config: SessionConfig) -> SessionEncoder:
    """A fresh encoder of `config.kind` for item rows 0..n_items-1; weights drawn from torch's generator."""
    return KINDS[config.kind](n_items, config)
