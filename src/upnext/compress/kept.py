"""What a release keeps of a ranker for being trained further: the models behind its graphs; trains nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from upnext.compress.sweep import SweepRow
from upnext.errors import TrainingError
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn
from upnext.training.checkpoint import read_checkpoint, write_checkpoint

PART = "ranker.state"


@dataclass(frozen=True)
class KeptRanker:
    """`models` by their share of neurons, the whole ranker (1.0) first; `choices` says what was served, by depth."""

    models: Mapping[float, RankerDnn]
    choices: Mapping[int, SweepRow]
    default_exit: str


def write_kept(path: Path, kept: KeptRanker) -> None:
    """One file, which `read_kept` reads."""
    record = {
        "models": {
            share: {"config": msgspec.json.encode(model.config), "model": model.state_dict()}
            for share, model in kept.models.items()
        },
        "choices": msgspec.json.encode(list(kept.choices.values())),
        "default_exit": kept.default_exit,
    }
    write_checkpoint(path, "", record)


def read_kept(path: Path) -> KeptRanker:
    """In evaluation mode. Raises TrainingError for a file of another version."""
    record = read_checkpoint(path, None)
    try:
        if record is None:
            raise KeyError("it is missing")
        models = {share: _model(part["config"], part["model"]) for share, part in record["models"].items()}
        choices = msgspec.json.decode(record["choices"], type=list[SweepRow])
        return KeptRanker(models, {row.exit_depth: row for row in choices}, str(record["default_exit"]))
    except (KeyError, RuntimeError, msgspec.ValidationError) as error:
        raise TrainingError(f"{path} holds a ranker of another version ({error}); train a new release") from error


def _model(config: bytes, state: dict[str, object]) -> RankerDnn:
    sizes = {
        f"n_{side}_inputs": len(state[f"{side}_inputs.mean"])  # type: ignore[arg-type]
        for side in ("item", "user", "cross")
    }
    model = RankerDnn(msgspec.json.decode(config, type=RankerConfig), **sizes)
    model.load_state_dict(state)
    return model.eval()
