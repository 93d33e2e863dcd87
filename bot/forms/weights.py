"""Offers of a campaign with their weights, as people name them."""

from bot.core.arguments import weighted_word
from bot.core.context import Context
from storage.catalogue import names
from storage.ledger.clicks.rotation_rules import MAX_WEIGHT
from storage.ledger.errors import Refused
from storage.tables import offers


async def weighed(ctx: Context, words: list[str], apart: list[int]) -> dict[int, int]:
    """Weights by offer id, in order: `lucky-star:3,wild-win:1`, or the weights `apart`, as forms have them.

    Raises Refused at `offers` or `weights`.
    """
    if apart and len(apart) != len(words):
        raise Refused(f"weights: {len(apart)} for {len(words)} offers: give one for each, in order", field="weights")
    if any(not 0 <= one <= MAX_WEIGHT for one in apart):
        raise Refused(f"weights: a weight is from 0 to {MAX_WEIGHT:,}", field="weights")
    weights: dict[int, int] = {}
    for place, word in enumerate(words):
        name, weight = weighted_word(word)
        if weight > MAX_WEIGHT:
            raise Refused(f"offers: a weight is at most {MAX_WEIGHT:,}", field="offers")
        offer = await names.find(ctx.tx, offers, ctx.team_id, name, field="offers")
        if offer.id in weights:
            raise Refused(f"offers: {offer.code} is named twice", field="offers")
        weights[offer.id] = apart[place] if apart else weight
    if weights and not any(weights.values()):
        raise Refused("offers: every weight is 0, so no visitor would be sent anywhere", field="offers")
    return weights
