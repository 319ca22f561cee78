"""The weights of the sources that a release has learnt, as settings; learns nothing."""

from collections.abc import Mapping

import msgspec

from upnext.settings import Settings

WEIGHTS_PART = "retrieval.weights"  # of a release: {source: weight}


def with_learnt_weights(settings: Settings, learnt: Mapping[str, float] | None) -> Settings:
    """The settings with the weights in `learnt`, unless they ask for their own. Sources they do not know are let be."""
    if not learnt or settings.retrieval.weights == "settings":
        return settings
    known = {f"{source}_weight": float(weight) for source, weight in learnt.items()}
    known = {name: weight for name, weight in known.items() if hasattr(settings.retrieval, name)}
    return msgspec.structs.replace(settings, retrieval=msgspec.structs.replace(settings.retrieval, **known))
