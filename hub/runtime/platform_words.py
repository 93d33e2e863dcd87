"""Each platform's words in postbacks, for storage, which does not know connectors."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from connectors.registry import platform
from storage.ledger.errors import Missing


@cache
def platform_words(name: str) -> Mapping[str, Any]:
    """`connectors.base.PostbackWords` of a platform as a dict; none of its own for a platform that is gone."""
    try:
        words: dict[str, Any] = msgspec.to_builtins(platform(name).words)
    except (Missing, ModuleNotFoundError):
        return {}
    return words
