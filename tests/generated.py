"""How many examples tests generate, and which."""

import os
from zlib import crc32


def examples(full: int) -> int:
    """A third of so many, and all of them where ALL_EXAMPLES is set."""
    return full if "ALL_EXAMPLES" in os.environ else max(full // 3, 5)


def number_of(test: str) -> int:
    """The seed of what a test draws: the same in every run, another for each FUZZ_SEED."""
    return crc32(f"{os.environ.get('FUZZ_SEED', '')}{test}".encode())
