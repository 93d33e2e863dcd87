"""Who of a site's visitors goes by the weights set by hand: the same answer whenever it is asked, nothing is stored."""

import hashlib

from storage.ledger.distribution.weights import WHOLE


def draw(salt: str, visitor: str, whole: int) -> int:
    """A number below `whole` that is a visitor's own."""
    return int.from_bytes(hashlib.sha256(f"{salt} {visitor}".encode()).digest()[:8], "big") % max(whole, 1)


def held_out(site_id: int, visitor: str, holdout: int) -> bool:
    """Whether a visitor is one of the holdout, a share in hundredths of a per cent. `visitor`: the word of the click
    that they came with, or a hash of who they are."""
    return draw(f"holdout {site_id}", visitor, WHOLE) < holdout
