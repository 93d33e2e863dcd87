"""Offers of a campaign with their weights, as people name them."""

from bot.core.arguments import weighted_word
from bot.core.context import Context
from storage.catalogue import names
from storage.ledger.clicks.rotation_rules import MAX_WEIGHT
from storage.ledger.errors import Refused
from storage.tables import offers


async def read_weights(ctx: Context, words: list[str], weights: list[int]) -> dict[int, int]:
    """Weights by offer id, in order: `lucky-star:3,wild-win:1`,
    or `weights` in the order of `words`, as forms have them.

    Raises Refused at `offers` or `weights`.
    """
    if weights and len(weights) != len(words):
        raise Refused(f"weights: {len(weights)} for {len(words)} offers: give one for each, in order", field="weights")
    if any(not 0 <= weight <= MAX_WEIGHT for weight in weights):
        raise Refused(f"weights: a weight is from 0 to {MAX_WEIGHT:,}", field="weights")
    by_offer: dict[int, int] = {}
    for place, word in enumerate(words):
        name, weight = weighted_word(word)
        if weight > MAX_WEIGHT:
            raise Refused(f"offers: a weight is at most {MAX_WEIGHT:,}", field="offers")
        offer = await names.find(ctx.tx, offers, ctx.team_id, name, field="offers")
        if offer.id in by_offer:
            raise Refused(f"offers: {offer.code} is named twice", field="offers")
        by_offer[offer.id] = weights[place] if weights else weight
    if by_offer and not any(by_offer.values()):
        raise Refused("offers: every weight is 0, so no visitor would be sent anywhere", field="offers")
    return by_offer
