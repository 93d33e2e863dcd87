"""The sum behind a forecast: what a day's first deposits bring, late or at once, and what earlier players bring.

Reasons and sources are in storage.ledger.reports.forecast.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import exp, gcd, log, sqrt
from operator import mul

import msgspec

LEARNT_AT_ONCE = 28  # known days that the first coefficients come from; each later day is estimated from those before
HALF_LIFE = 45  # days after which a past day counts half
_MATURE = 0.97  # share of a day's commission that has come by when it is an outcome
_DECAYS = (0.5, 0.75, 0.87, 0.92)  # of late commission: mean delays of 1, 3, 7 and 12 days
_AT_ONCE_PRIOR = 6.0  # against 1 for each shape of late commission
_STOCKS = ((1.0, 2.0), (0.5 ** (1 / 45), 1.0))  # daily share of players who stay, prior: all, or half after 45 days
_SPREADS = ((1.0, 2, 4.0), (1.0, 1, 1.0), (0.4, 2, 1.0), (0.4, 1, 1.0), (0.0, 1, 1.0))  # stock's share, power; prior
_NEGLIGIBLE = 0.01  # weight below which a shape is left out
_CENT = 10_000

Column = list[float]
Matrix = list[Column]


class Past(msgspec.Struct, frozen=True):
    """A past day: first deposits as they were in hand, and the commission stated so far (None: not settled)."""

    first_deposits: int
    commission: int | None


class Pending(msgspec.Struct, frozen=True):
    """A day to estimate: first deposits in hand, and how many more are to be expected if that is not all of them."""

    first_deposits: int
    expected: float = 0.0


class FittedDay(msgspec.Struct, frozen=True, gc=False):
    """A day's estimate, its outcome, and how far it strays by itself, as a standard deviation (micro-units).

    `judged`: the estimate is made of earlier days alone. `matured`: its commission has come. `alone`: a day without
    first deposits of an offer that pays for them, which is only compared with such days.
    """

    estimate: float
    outcome: float
    spread: float
    judged: bool = True
    matured: bool = True
    alone: bool = False


def unit_of(amounts: Iterable[int]) -> int:
    """What all amounts are multiples of, in micro-units; 0 if that is no more than a thirtieth of the median amount."""
    cents = sorted(abs(amount) // _CENT for amount in amounts if amount)
    unit = gcd(*cents) if len(cents) >= 3 else 0
    return unit * _CENT if cents and unit * 30 >= cents[len(cents) // 2] else 0


class Fit:
    """One offer's columns over its past and pending days, and the coefficients learnt from them day by day.

    Inside, amounts are divided by the mean day's, columns by their mean.
    """

    def __init__(self, history: Sequence[Past], pending: Sequence[Pending]) -> None:
        self.known = [d for d, day in enumerate(history) if day.commission is not None]
        self._n = len(history)
        self._first_deposits = [float(day.first_deposits) for day in history]
        self._first_deposits += [day.first_deposits + day.expected for day in pending]
        amounts = [day.commission or 0 for day in history]
        self._scale = sum(map(abs, amounts)) / len(self.known)
        self._amounts = [amount / self._scale for amount in amounts]
        self._mean_first_deposits = sum(self._first_deposits[: self._n]) / self._n
        self.never_negative = min(amounts) >= 0
        self.unit = unit_of(amounts)
        self.counting = self._is_counting()
        self._immature = [0.0] * self._n  # share of a day's commission that has not come
        self._weights = self._first_weights()
        self._columns = self._make_columns()
        self._spreads = self._make_spreads()
        self._run(pending)

    def _is_counting(self) -> bool:
        """Whether the offer pays per FTD alone: no negative day, no more days with commission than FTDs, and amounts
        that are multiples of one, or a quarter of the days without any."""
        paid = sum(self._amounts[d] != 0 for d in self.known)
        plain = self.never_negative and paid <= sum(self._first_deposits[: self._n])
        return plain and (self.unit > 0 or 4 * paid <= 3 * len(self.known))

    def _first_weights(self) -> Column:
        mean, last, keep = self._mean_first_deposits, self.known[-1], 0.5 ** (1 / HALF_LIFE)
        return [keep ** (last - d) * 2 * mean / (self._first_deposits[d] + mean) for d in self.known]

    def _make_columns(self) -> list[Column]:
        """Late commission; for an offer that pays more than that also the stock of players, and a constant."""
        if self.counting:
            return [self._averaged_late([])]
        constant = [1.0] * len(self._first_deposits)
        stocks = [
            self._normal(accumulate(self._first_deposits, lambda stock, new, keep=keep: stock * keep + new))  # type: ignore[misc]
            for keep, _ in _STOCKS
        ]
        late = self._averaged_late([stocks[0], constant])
        shares = self._residuals([late, constant]).shares(map(self._cut, stocks), [prior for _, prior in _STOCKS])
        return [late, _mixed(stocks, shares), constant]

    def _averaged_late(self, base: Sequence[Column]) -> Column:
        shapes = list(self._late_shapes())
        priors = [1.0 if decay else _AT_ONCE_PRIOR for decay, _, _ in shapes]
        shares = self._residuals(base).shares((self._cut(column) for _, column, _ in shapes), priors)
        for share, (decay, _, grows) in zip(shares, shapes, strict=True):
            if grows and share:
                self._immature = [
                    lacking + share * decay ** (self._n - d) for d, lacking in enumerate(self._immature)
                ]  # fmt: skip
        return _mixed([column for _, column, _ in shapes], shares)

    def _late_shapes(self) -> Iterator[tuple[float, Column, bool]]:
        """Decay, column, and whether a day's own commission grows, for each way in which commission may be late."""
        deposits, n = self._first_deposits, self._n
        yield 0.0, self._normal(deposits), False
        for decay in _DECAYS:
            grown = [deposits[d] * (1 - decay ** (n - d)) for d in range(n)]
            yield decay, self._normal([*grown, *deposits[n:]]), True
            for start in (self._mean_first_deposits, 0.0):  # players from before the history, or none
                lagged = accumulate(deposits, lambda x, new, keep=decay: keep * x + (1 - keep) * new, initial=start)  # type: ignore[misc]
                yield decay, self._normal(list(lagged)[1:]), False

    def _cut(self, column: Column) -> Column:
        """The column's days of which the commission is known."""
        return column[: self._n] if len(self.known) == self._n else [column[d] for d in self.known]

    def _normal(self, values: Iterable[float]) -> Column:
        column = list(values)
        mean = sum(column[: self._n]) / self._n or 1.0
        return [value / mean for value in column]

    def _residuals(self, columns: Sequence[Column]) -> "_Residuals":
        return _Residuals(self._weights, self._cut(self._amounts), [self._cut(column) for column in columns])

    def _make_spreads(self) -> Column:
        """How far a day strays, relative to others: the variance grows with late commission, and with the stock or its
        square."""
        late = [value + 0.15 for value in self._columns[0]]
        if self.counting:
            return [sqrt(value) for value in late]
        stock = [(value + 0.1) / 1.1 for value in self._columns[1]]
        strays = [abs(value) for value in self._residuals(self._columns).values]
        variances, misfits = [], []
        for share, power, _ in _SPREADS:
            variance = [(1 - share) * a / 1.15 + share * b**power for a, b in zip(late, stock, strict=True)]
            known = self._cut(variance)
            mean = sum(known) / len(known)
            variances.append([value / mean for value in variance])
            absolute = sum(stray / sqrt(value) for stray, value in zip(strays, known, strict=True))
            misfits.append(sum(map(log, known)) / 2 + len(known) * log(absolute + 1e-12))
        shares = _weighed(misfits, [prior for _, _, prior in _SPREADS])
        return [sqrt(value) for value in _mixed(variances, shares)]

    def _run(self, pending: Sequence[Pending]) -> None:
        """Learn the past day by day, then estimate the pending days."""
        rows = [[value / spread for value in row]
                for *row, spread in zip(*self._columns, self._spreads, strict=True)]  # fmt: skip
        targets = {d: self._amounts[d] / self._spreads[d] for d in self.known}
        start = self.known[:LEARNT_AT_ONCE]
        learner = _Learner([rows[d] for d in start], [targets[d] for d in start])
        strays: dict[int, tuple[float, float]] = {}  # estimate and its error's size, in spreads
        for d in start:
            middle, leverage = learner.predict(rows[d])
            strays[d] = middle, sqrt(max(0.05, 1 - leverage))
        for d in self.known[LEARNT_AT_ONCE:]:
            middle, leverage = learner.learn(rows[d], targets[d])
            strays[d] = middle, sqrt(1 + leverage)
        squares = sum(((targets[d] - middle) / size) ** 2 for d, (middle, size) in strays.items())
        self._typical = max(sqrt(squares / len(strays)), 1e-7) * self._scale
        self.past = [self._past_day(d, *strays[d]) if d in strays else None for d in range(self._n)]
        self._estimate(learner, rows[self._n :], pending)

    def _past_day(self, d: int, middle: float, size: float) -> FittedDay:
        spread = self._spreads[d]
        return FittedDay(
            estimate=middle * spread * self._scale, outcome=self._amounts[d] * self._scale,
            spread=size * spread * self._typical, judged=d > self.known[LEARNT_AT_ONCE - 1],
            matured=1 - self._immature[d] >= _MATURE, alone=self.counting and self._first_deposits[d] == 0,
        )  # fmt: skip

    def _estimate(self, learner: "_Learner", rows: Matrix, pending: Sequence[Pending]) -> None:
        """Estimates of the pending days, and the spread of their sum: all share the coefficients' error."""
        spreads = self._spreads[self._n :]
        per_first_deposit = learner.coefficients[0] / (self._mean_first_deposits or 1.0) * self._scale
        self.pending = []
        variance = 0.0
        for row, spread, day in zip(rows, spreads, pending, strict=True):
            middle, leverage = learner.predict(row)
            to_come = per_first_deposit**2 * day.expected  # counts vary as much as they are
            variance += (spread * self._typical) ** 2 + to_come
            self.pending.append(FittedDay(
                estimate=middle * spread * self._scale, outcome=0.0,
                spread=sqrt((spread * self._typical) ** 2 * (1 + leverage) + to_come),
                alone=self.counting and self._first_deposits[self._n + len(self.pending)] == 0,
            ))  # fmt: skip
        sums = [sum(map(mul, column, spreads)) for column in zip(*rows, strict=True)]
        self.pending_spread = sqrt(variance + learner.predict(sums)[1] * self._typical**2) if rows else 0.0


class _Learner:
    """Least squares that forget, updated row by row (recursive least squares)."""

    def __init__(self, rows: Sequence[Column], targets: Column) -> None:
        self._keep = 0.5 ** (1 / HALF_LIFE)
        weights = [self._keep ** (len(rows) - 1 - at) for at in range(len(rows))]
        columns = [list(column) for column in zip(*rows, strict=True)]
        weighted = [list(map(mul, weights, column)) for column in columns]
        self._inverse = _inverted([[sum(map(mul, one, other)) for other in columns] for one in weighted])
        sums = [sum(map(mul, column, targets)) for column in weighted]
        self.coefficients = [sum(map(mul, line, sums)) for line in self._inverse]

    def predict(self, row: Column) -> tuple[float, float]:
        """The estimate, and its variance by the coefficients (1 is a row's own)."""
        gains = [sum(map(mul, line, row)) for line in self._inverse]
        return sum(map(mul, self.coefficients, row)), sum(map(mul, gains, row))

    def learn(self, row: Column, target: float) -> tuple[float, float]:
        """What `predict` says, and then take the row in."""
        gains = [sum(map(mul, line, row)) for line in self._inverse]
        middle, leverage = sum(map(mul, self.coefficients, row)), sum(map(mul, gains, row))
        step = 1 / (self._keep + leverage)
        self.coefficients = [
            b + gain * step * (target - middle) for b, gain in zip(self.coefficients, gains, strict=True)
        ]
        self._inverse = [
            [(value - gain * other * step) / self._keep for value, other in zip(line, gains, strict=True)]
            for line, gain in zip(self._inverse, gains, strict=True)
        ]
        return middle, leverage


class _Residuals:
    """What columns leave unexplained of the amounts, and how much further columns would explain."""

    def __init__(self, weights: Column, amounts: Column, columns: Sequence[Column]) -> None:
        self._weights = weights
        self._columns = columns
        self._weighted = [list(map(mul, weights, column)) for column in columns]
        gram = [[sum(map(mul, one, other)) for other in columns] for one in self._weighted]
        self._inverse = _inverted(gram)
        sums = [sum(map(mul, column, amounts)) for column in self._weighted]
        factors = [sum(map(mul, line, sums)) for line in self._inverse]
        self.values = amounts
        for factor, column in zip(factors, columns, strict=True):
            self.values = [value - factor * part for value, part in zip(self.values, column, strict=True)]

    def shares(self, columns: Iterable[Column], priors: Sequence[float]) -> Column:
        """Weights of further columns, each by itself beside those there are, by how likely they make the amounts."""
        left = sum(map(mul, map(mul, self.values, self.values), self._weights))
        misfits = [max(left - self._explained(column), 0.0) for column in columns]
        noise = 2 * max(min(misfits), 1e-9) / (len(self.values) - len(self._columns) - 1)
        return _weighed([misfit / noise for misfit in misfits], priors)

    def _explained(self, column: Column) -> float:
        weighted = list(map(mul, self._weights, column))
        own = sum(map(mul, weighted, column))
        shared = [sum(map(mul, weighted, other)) for other in self._columns]
        left = own - sum(
            a * value * b
            for a, line in zip(shared, self._inverse, strict=True)
            for value, b in zip(line, shared, strict=True)
        )
        return sum(map(mul, weighted, self.values)) ** 2 / left if left > 1e-9 * own else 0.0


def _weighed(misfits: Sequence[float], priors: Sequence[float]) -> Column:
    """Weights that sum to 1, by misfit (a negative log likelihood) and prior; negligible ones are 0."""
    least = min(misfits)
    weights = [prior * exp(least - misfit) for misfit, prior in zip(misfits, priors, strict=True)]
    most = sum(weights)
    weights = [weight if weight >= _NEGLIGIBLE * most else 0.0 for weight in weights]
    most = sum(weights)
    return [weight / most for weight in weights]


def _mixed(columns: Sequence[Column], shares: Column) -> Column:
    """The weighted sum of columns."""
    used = [(share, column) for share, column in zip(shares, columns, strict=True) if share]
    mixed = [used[0][0] * value for value in used[0][1]]
    for share, column in used[1:]:
        mixed = [a + share * b for a, b in zip(mixed, column, strict=True)]
    return mixed


def _inverted(matrix: Matrix) -> Matrix:
    """The inverse of a positive matrix; columns that say the same share what they say."""
    n = len(matrix)
    ridge = 1e-9 if n > 1 else 0.0
    rows = [
        [value * (1 + ridge) if at == i else value for at, value in enumerate(line)]
        + [float(at == i) for at in range(n)]
        for i, line in enumerate(matrix)
    ]
    for i in range(n):
        pivot = rows[i][i] if rows[i][i] > 1e-12 else 1e-12
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(n):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]
