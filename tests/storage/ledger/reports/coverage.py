"""How forecasts of simulated worlds did: how often their ranges held the outcome, and how far off they were in all."""

import msgspec


class Coverage(msgspec.Struct):
    """Forecasts, how many of their ranges held the outcome, and the sums of estimates and outcomes."""

    forecasts: int = 0
    inside: float = 0.0
    estimated: float = 0.0
    outcome: float = 0.0

    @property
    def cover(self) -> float:
        """Ranges that held the outcome, in per cent."""
        return 100 * self.inside / max(1, self.forecasts)

    @property
    def bias(self) -> float:
        """Estimates over or under the outcomes, in per cent."""
        return 100 * (self.estimated / self.outcome - 1)

    def __str__(self) -> str:
        return f"{self.cover:.0f} / {self.bias:+.1f}"
