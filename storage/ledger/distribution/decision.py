"""One decision: from what a campaign's offers have earned to the weights they get next."""

from collections.abc import Mapping, Sequence

import msgspec

from storage.ledger.distribution.earnings import ClickValue, OfferDay, OfferHistory, click_values
from storage.ledger.distribution.weights import Limits, best_shares, share_out, visitor_shares

Weights = dict[int, int]
"""Weight by offer id; weights in force add up to storage.ledger.distribution.weights.WHOLE."""
SEGMENT_CLICKS = 500  # a country or device with fewer goes with all the others


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision is made from: offers' histories by segment (empty: all visitors), and the weights that were in
    force at some moment of the last hour."""

    offers: tuple[int, ...]
    histories: dict[str, dict[int, OfferHistory]]
    recent: dict[str, list[Weights]]
    limits: Limits


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A segment's next weights, and by offer what they are made from."""

    weights: Weights
    values: dict[int, ClickValue]
    best: dict[int, float]
    clicks: dict[int, int]


def decide(request: Request) -> dict[str, Decision]:
    """The next weights of each segment with enough clicks."""
    decisions: dict[str, Decision] = {}
    for segment, histories in request.histories.items():
        complete = _complete(histories, request.offers)
        if not segment or sum(history.clicks for history in complete) >= SEGMENT_CLICKS:
            decisions[segment] = _decide(complete, request, segment)
    return decisions


def _complete(histories: Mapping[int, OfferHistory], offers: Sequence[int]) -> list[OfferHistory]:
    """The offers' histories in order; one without any has had no clicks."""
    days = max((len(history.days) for history in histories.values()), default=1)
    nothing = OfferHistory(days=(OfferDay(clicks=0, first_deposits=0),) * days)
    return [histories.get(offer, nothing) for offer in offers]


def _decide(histories: Sequence[OfferHistory], request: Request, segment: str) -> Decision:
    offers = request.offers
    values = click_values(histories)
    best = best_shares(values)
    clicks = [history.clicks for history in histories]
    recent = request.recent.get(segment) or request.recent[""]
    weights = share_out(
        visitor_shares(best), limits=request.limits,
        recent=[[past.get(offer, 0) for offer in offers] for past in recent], clicks=clicks,
    )  # fmt: skip
    return Decision(
        weights=dict(zip(offers, weights, strict=True)), values=dict(zip(offers, values, strict=True)),
        best=dict(zip(offers, best, strict=True)), clicks=dict(zip(offers, clicks, strict=True)),
    )  # fmt: skip
