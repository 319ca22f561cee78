"""A candidate's price against those the user chose and those of its genre; 0 where either is not known."""

import numpy as np

from upnext.features.columns.core import Column
from upnext.features.look import Floats, Look


def _from(look: Look, price: float) -> Floats:
    found: Floats = np.nan_to_num(look.price - np.float32(price), nan=0.0)
    return found


def _from_mean(look: Look) -> Floats:
    return _from(look, float(look.prices.mean())) if len(look.prices) else look.zeros


def _from_last(look: Look) -> Floats:
    return _from(look, float(look.facts.log_price[look.last5[0]])) if len(look.last5) else look.zeros


def _in_spreads(look: Look) -> Floats:
    if not len(look.prices):
        return look.zeros
    found: Floats = np.abs(_from_mean(look)) * np.float32(1 / (float(look.prices.std()) + 0.1))
    return found


def _rank_distance(look: Look) -> Floats:
    known = look.facts.log_price.take(look.recent)
    ranks = look.facts.price_rank.take(look.recent)[~np.isnan(known)]
    if not len(ranks):
        return look.zeros
    distance = np.abs(look.facts.price_rank.take(look.places) - ranks.mean())
    return np.where(np.isnan(look.price), 0.0, distance).astype(np.float32)


COLUMNS: dict[str, Column] = {
    # difference of log prices: to the mean of the recent items, up, down, and either way
    "price_distance": lambda look: np.abs(_from_mean(look)),
    "price_over": lambda look: np.maximum(_from_mean(look), 0),
    "price_under": lambda look: np.maximum(-_from_mean(look), 0),
    # the same counted in the spread of the recent prices
    "price_spreads": _in_spreads,
    # to the newest item
    "price_last": _from_last,
    # its place among the prices of its genre, -0.5 … 0.5; and how far that is from where the user buys
    "price_rank": lambda look: look.facts.price_rank.take(look.places),
    "price_rank_distance": _rank_distance,
}
