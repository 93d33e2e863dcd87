"""Dividing what cannot be divided evenly, to the last unit."""

from collections.abc import Sequence


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of `amount` in proportion to `weights`, summing to it exactly.

    Largest remainder; ties go to the earlier weight. A negative amount is divided as its opposite would be.
    Raises ValueError when there is nothing to divide by.
    """
    if amount < 0:
        return [-part for part in split(-amount, weights)]
    whole = sum(weights)
    if whole <= 0:
        raise ValueError("weights sum to nothing")
    parts = [amount * weight // whole for weight in weights]
    remainder = amount - sum(parts)
    if remainder:
        by_remainder = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % whole), i))
        for i in by_remainder[:remainder]:
            parts[i] += 1
    return parts


def first_positive(scales: Sequence[Sequence[int]]) -> Sequence[int]:
    """The first of several scales whose weights sum to more than 0; equal weights if none does."""
    for scale in scales:
        if sum(scale) > 0:
            return scale
    return [1] * len(scales[0])
