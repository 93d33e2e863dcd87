"""What affiliate networks (Alanbase, Scaleo, Everflow, Affise, TUNE) have in common: clicks, conversions, payout."""

from collections.abc import Mapping
from typing import Any

from connectors.base import Connection

#: Networks count conversions without saying of what; most pay for a qualified player.
SETTING = {
    "conversions_are": "what the network's conversions are: qualified (default), first_deposits, registrations, none"
}


def with_conversions(connection: Connection, measures: Mapping[str, tuple[str, ...]], *columns: str) -> dict[str, Any]:
    """The measures with the network's conversion count under what the account says it is."""
    kind = str(connection.option("conversions_are", "qualified"))
    return dict(measures) | ({kind: columns} if kind in {"qualified", "first_deposits", "registrations"} else {})
