"""How many examples tests generate."""

import os


def examples(full: int) -> int:
    """A third of so many, and all of them where ALL_EXAMPLES is set."""
    return full if "ALL_EXAMPLES" in os.environ else max(full // 3, 5)
