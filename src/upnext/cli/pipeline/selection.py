"""Step three: which engineered inputs the ranker gets, and the lists with those alone."""

from collections.abc import Callable
from dataclasses import dataclass

from upnext.cli.pipeline.encoders import Step
from upnext.cli.pipeline.plan import TrainSettings
from upnext.features.spec import EVERYTHING, Chosen, FeatureSpec
from upnext.models.ranker_lists import RankerLists
from upnext.training.feature_report import FeatureReport
from upnext.training.importance import with_columns
from upnext.training.selection import FEWEST_LISTS, select_features


@dataclass(frozen=True)
class Listed:
    """The lists that a ranker learns from, whose columns `spec` names."""

    lists: RankerLists
    spec: FeatureSpec
    retrieved_share: float  # of the requests replayed, how many had their target retrieved


MakeLists = Callable[[Chosen, int, Callable[[int, int, str], None]], Listed]
"""(inputs, most lists, progress) → lists, replayed anew."""


def chosen_lists(
    make: MakeLists, settings: TrainSettings, seed: int, step: Step
) -> tuple[Listed, FeatureReport | None]:
    """Lists with the selected inputs, and what was found.

    All inputs of all lists would be gigabytes, so a sample is replayed with all of them and, where it is not the whole,
    the rest once more with the selected ones. The default inputs and None without a selection, or with too few lists
    for one.
    """
    most = settings.lists.most
    if not settings.features.select:
        with step("ranker lists") as progress:
            return make(Chosen(), most, progress), None
    n_sample, chosen, report = min(settings.features.lists, most), Chosen(), None
    with step("features") as progress:
        sample = make(EVERYTHING, n_sample, progress)
        if len(sample.lists) >= FEWEST_LISTS:
            chosen, report = select_features(sample.lists, sample.spec, settings.features, seed, progress)
    if n_sample == most:
        spec = sample.spec.with_chosen(chosen)
        return Listed(with_columns(sample.lists, sample.spec, spec), spec, sample.retrieved_share), report
    del sample
    with step("ranker lists") as progress:
        return make(chosen, most, progress), report
