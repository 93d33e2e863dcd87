"""The sum behind a forecast: what a day's first deposits bring, late or at once, and what earlier players bring.

Reasons and sources are in storage.ledger.reports.forecast.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from math import exp, gcd, log, sqrt
from operator import mul

import msgspec

LEARNT_AT_ONCE = 28  # known days that the first coefficients come from; each later day is estimated from those before
_KEEP = 0.5 ** (1 / 45)  # what a past day counts, a day later: half after 45 days
_MATURE = 0.97  # share of a day's commission that has come by when it is an outcome
_DECAYS = (0.5, 0.75, 0.87, 0.92)  # of late commission: mean delays of 1, 3, 7 and 12 days
_AT_ONCE_PRIOR = 6.0  # against 1 for each shape of late commission
_STOCKS = ((1.0, 5.0), (_KEEP, 1.0))  # daily share of players who stay, prior: all, or half after 45 days
_SPREADS = ((1.0, 2, 16.0), (1.0, 1, 1.0), (0.4, 1, 1.0), (0.0, 1, 1.0))  # stock's share, power; prior
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

    def __init__(self, history: Sequence[Past], pending: Sequence[Pending], *, skip: int = 0) -> None:
        self.reported_days = [d for d, day in enumerate(history) if day.commission is not None]
        self._n = len(history)
        self._first_deposits = [1.0 * day.first_deposits for day in history]
        self._first_deposits += [day.first_deposits + day.expected for day in pending]
        amounts = [day.commission or 0 for day in history]
        self._scale = sum(map(abs, amounts)) / len(self.reported_days)
        self._amounts = [amount / self._scale for amount in amounts]
        self._mean_first_deposits = sum(self._first_deposits[: self._n]) / self._n
        self.never_negative = min(amounts) >= 0
        self.unit = unit_of(amounts)
        self.counting = self._is_counting()
        self._immature = [0.0] * self._n  # share of a day's commission that has not come
        self._weights = self._first_weights()
        self._columns = self._make_columns()
        self._spreads = self._make_spreads()
        self._run(pending, skip)

    def _is_counting(self) -> bool:
        """Whether the offer pays per FTD alone: no negative day, no more days with commission than FTDs, and amounts
        that are multiples of one, or a quarter of the days without any."""
        paid = sum(self._amounts[d] != 0 for d in self.reported_days)
        plain = self.never_negative and paid <= sum(self._first_deposits[: self._n])
        return plain and (self.unit > 0 or 4 * paid <= 3 * len(self.reported_days))

    def _first_weights(self) -> Column:
        mean, last = self._mean_first_deposits, self.reported_days[-1]
        return [_KEEP ** (last - d) * 2 * mean / (self._first_deposits[d] + mean) for d in self.reported_days]

    def _make_columns(self) -> list[Column]:
        """Late commission; for an offer that pays more than that also the stock of players, and a constant."""
        if self.counting:
            return [self._averaged_late([])]
        constant = [1.0] * len(self._first_deposits)
        stocks = [
            self._normal(accumulate(self._first_deposits, lambda stock, new, rate=rate: stock * rate + new))  # type: ignore[misc]
            for rate, _ in _STOCKS
        ]
        late = self._averaged_late([stocks[0], constant])
        shares = self._residuals([late, constant]).shares(map(self._cut, stocks), [prior for _, prior in _STOCKS])
        return [late, _mixed(stocks, shares), constant]

    def _averaged_late(self, base: Sequence[Column]) -> Column:
        shapes = list(self._late_shapes())
        priors = [1.0 if decay else _AT_ONCE_PRIOR for decay, _, _ in shapes]
        shares = self._residuals(base).shares((self._cut(column) for _, column, _ in shapes), priors)
        n = self._n
        for share, (decay, _, grows) in zip(shares, shapes, strict=True):
            if grows and share:
                lacking = _powers(decay, n + 1)
                self._immature = [value + share * lacking[n - d] for d, value in enumerate(self._immature)]
        return _mixed([self._normal(column) if share else column for share, (_, column, _) in
                       zip(shares, shapes, strict=True)], shares)  # fmt: skip

    def _late_shapes(self) -> Iterator[tuple[float, Column, bool]]:
        """Decay, column, and whether a day's own commission grows, for each way in which commission may be late."""
        deposits, n = self._first_deposits, self._n
        yield 0.0, deposits, False
        for decay in _DECAYS:
            powers = _powers(decay, len(deposits) + 1)
            yield decay, [*map(mul, deposits, _arrived(decay, n)), *deposits[n:]], True
            lagged = list(accumulate(deposits, lambda x, new, rate=decay: rate * x + new))  # type: ignore[misc]
            yield decay, lagged, False
            before = self._mean_first_deposits / (1 - decay)  # the same, with players from before the history
            yield decay, [value + before * power for value, power in zip(lagged, powers[1:], strict=True)], False

    def _cut(self, column: Column) -> Column:
        """The column's days of which the commission is known."""
        return column[: self._n] if len(self.reported_days) == self._n else [column[d] for d in self.reported_days]

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
            of_late = (1 - share) / 1.15
            grown = stock if power == 1 else map(mul, stock, stock)
            variance = [of_late * a + share * b for a, b in zip(late, grown, strict=True)]
            residuals = self._cut(variance)
            mean = sum(residuals) / len(residuals)
            variances.append([value / mean for value in variance])
            absolute = sum(stray / sqrt(value) for stray, value in zip(strays, residuals, strict=True))
            misfits.append(sum(map(log, residuals)) / 2 + len(residuals) * log(absolute + 1e-12))
        shares = _weighed(misfits, [prior for _, _, prior in _SPREADS])
        return [sqrt(value) for value in _mixed(variances, shares)]

    def _run(self, pending: Sequence[Pending], skip: int) -> None:
        """Learn the past day by day, then estimate the pending days."""
        rows = [[value / spread for value in row]
                for *row, spread in zip(*self._columns, self._spreads, strict=True)]  # fmt: skip
        known_rows = [rows[d] for d in self.reported_days]
        targets = [self._amounts[d] / self._spreads[d] for d in self.reported_days]
        learner = _Learner(known_rows[:LEARNT_AT_ONCE], targets[:LEARNT_AT_ONCE])
        middles = [learner.predict(row) for row in known_rows[:LEARNT_AT_ONCE]]
        sizes = [sqrt(max(0.05, 1 - leverage)) for _, leverage in middles]
        middles += learner.learn(known_rows[LEARNT_AT_ONCE:], targets[LEARNT_AT_ONCE:])
        sizes += [sqrt(1 + leverage) for _, leverage in middles[LEARNT_AT_ONCE:]]
        squares = sum(
            ((target - middle) / size) ** 2 for target, (middle, _), size in zip(targets, middles, sizes, strict=True)
        )
        self._typical = max(sqrt(squares / len(known_rows)), 1e-7) * self._scale
        self.past: list[FittedDay | None] = [None] * self._n
        for d, (middle, _), size in zip(self.reported_days, middles, sizes, strict=True):
            self.past[d] = self._past_day(d, middle, size)
        self._estimate(learner, rows, [(self._n + at, day) for at, day in enumerate(pending)][skip:])

    def _past_day(self, d: int, middle: float, size: float) -> FittedDay:
        spread = self._spreads[d]
        return FittedDay(
            estimate=middle * spread * self._scale, outcome=self._amounts[d] * self._scale,
            spread=size * spread * self._typical, judged=d > self.reported_days[LEARNT_AT_ONCE - 1],
            matured=1 - self._immature[d] >= _MATURE, alone=self.counting and self._first_deposits[d] == 0,
        )  # fmt: skip

    def _estimate(self, learner: "_Learner", rows: Sequence[Column], pending: Sequence[tuple[int, Pending]]) -> None:
        """Estimates of the pending days, and the spread of their sum: all share the coefficients' error."""
        per_first_deposit = learner.coefficients[0] / (self._mean_first_deposits or 1.0) * self._scale
        self.pending: list[FittedDay] = []
        variance = 0.0
        for d, day in pending:
            spread = self._spreads[d]
            middle, leverage = learner.predict(rows[d])
            to_come = per_first_deposit**2 * day.expected  # a count varies as much as it is
            variance += (spread * self._typical) ** 2 + to_come
            self.pending.append(FittedDay(
                estimate=middle * spread * self._scale, outcome=0.0,
                spread=sqrt((spread * self._typical) ** 2 * (1 + leverage) + to_come),
                alone=self.counting and self._first_deposits[d] == 0,
            ))  # fmt: skip
        sums = [sum(self._spreads[d] * rows[d][at] for d, _ in pending) for at in range(len(self._columns))]
        self.pending_spread = sqrt(variance + learner.predict(sums)[1] * self._typical**2)


class _Learner:
    """Least squares that forget, updated row by row (recursive least squares), of three columns at most."""

    def __init__(self, rows: Sequence[Column], targets: Column) -> None:
        weights = [_KEEP ** (len(rows) - 1 - at) for at in range(len(rows))]
        columns = [list(column) for column in zip(*rows, strict=True)]
        weighted = [list(map(mul, weights, column)) for column in columns]
        inverse = _inverted([[sum(map(mul, scaled, column)) for column in columns] for scaled in weighted])
        sums = [sum(map(mul, column, targets)) for column in weighted]
        self._none = [0.0] * (3 - len(columns))  # columns that are not there
        self.coefficients = [sum(map(mul, line, sums)) for line in inverse] + self._none
        self._inverse = [line + self._none for line in inverse] + [[0.0] * 3 for _ in self._none]

    def predict(self, row: Column) -> tuple[float, float]:
        """The estimate, and its variance by the coefficients (1 is a row's own)."""
        row = row + self._none
        gains = [sum(map(mul, line, row)) for line in self._inverse]
        return sum(map(mul, self.coefficients, row)), sum(map(mul, gains, row))

    def learn(self, rows: Iterable[Column], targets: Iterable[float]) -> list[tuple[float, float]]:
        """Take rows in, one after another; what `predict` said of each before (written out: most time goes here)."""
        b0, b1, b2 = self.coefficients
        (p00, p01, p02), (_, p11, p12), (_, _, p22) = self._inverse
        predicted = []
        for row, target in zip(rows, targets, strict=True):
            x, y, z = row if len(row) == 3 else (*row, *self._none)
            g0, g1, g2 = p00 * x + p01 * y + p02 * z, p01 * x + p11 * y + p12 * z, p02 * x + p12 * y + p22 * z
            middle, leverage = b0 * x + b1 * y + b2 * z, g0 * x + g1 * y + g2 * z
            predicted.append((middle, leverage))
            step = 1 / (_KEEP + leverage)
            stray = step * (target - middle)
            b0, b1, b2 = b0 + g0 * stray, b1 + g1 * stray, b2 + g2 * stray
            p00, p01, p02 = (
                (p00 - g0 * g0 * step) / _KEEP,
                (p01 - g0 * g1 * step) / _KEEP,
                (p02 - g0 * g2 * step) / _KEEP,
            )
            p11, p12, p22 = (
                (p11 - g1 * g1 * step) / _KEEP,
                (p12 - g1 * g2 * step) / _KEEP,
                (p22 - g2 * g2 * step) / _KEEP,
            )
        self.coefficients = [b0, b1, b2]
        self._inverse = [[p00, p01, p02], [p01, p11, p12], [p02, p12, p22]]
        return predicted


class _Residuals:
    """What columns leave unexplained of the amounts, and how much further columns would explain."""

    def __init__(self, weights: Column, amounts: Column, columns: Sequence[Column]) -> None:
        self._weights = weights
        self._columns = columns
        self._weighted = [list(map(mul, weights, column)) for column in columns]
        gram = [[sum(map(mul, scaled, column)) for column in columns] for scaled in self._weighted]
        self._inverse = _inverted(gram)
        sums = [sum(map(mul, column, amounts)) for column in self._weighted]
        factors = [sum(map(mul, line, sums)) for line in self._inverse]
        self.values = amounts
        for factor, column in zip(factors, columns, strict=True):
            self.values = [value - factor * part for value, part in zip(self.values, column, strict=True)]

    def shares(self, columns: Iterable[Column], priors: Sequence[float]) -> Column:
        """Weights of further columns, each by itself beside those there are, by how likely they make the amounts."""
        self._weighted_values = list(map(mul, self._weights, self.values))
        total = sum(map(mul, self._weighted_values, self.values))
        misfits = [max(total - self._explained(column), 0.0) for column in columns]
        noise = 2 * max(min(misfits), 1e-9) / (len(self.values) - len(self._columns) - 1)
        return _weighed([misfit / noise for misfit in misfits], priors)

    def _explained(self, column: Column) -> float:
        own = sum(map(mul, self._weights, map(mul, column, column)))
        shared = [sum(map(mul, weighted, column)) for weighted in self._weighted]
        residual = own - sum(a * sum(map(mul, line, shared)) for a, line in zip(shared, self._inverse, strict=True))
        return sum(map(mul, self._weighted_values, column)) ** 2 / residual if residual > 1e-9 * own else 0.0


@cache
def _powers(decay: float, n: int) -> tuple[float, ...]:
    return tuple(decay**power for power in range(n))


@cache
def _arrived(decay: float, n: int) -> tuple[float, ...]:
    """The share of each of `n` days' commission that has come by the end of them."""
    return tuple(1 - power for power in _powers(decay, n + 1)[n:0:-1])


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
        + [1.0 if at == i else 0.0 for at in range(n)]
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
