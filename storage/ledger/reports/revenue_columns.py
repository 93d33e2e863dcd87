"""A day's revenue rows a column at a time: they are many, and hardly ever looked at one by one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial
from itertools import chain
from operator import itemgetter
from typing import Any, Self, overload

from storage.ledger.facts import RevenueFact

_fact: Callable[[Iterable[Any]], RevenueFact] = partial(tuple.__new__, RevenueFact)


class RevenueColumns(Sequence[RevenueFact]):
    """Revenue rows of which `columns` has every field's values, in the order of `RevenueFact`.

    `whole` says of each column whether none of its values is null, where that is known already.
    """

    def __init__(self, columns: Sequence[Sequence[Any]], whole: Sequence[bool] | None = None) -> None:
        self._columns = columns
        self._whole = dict(zip(RevenueFact._fields, whole or (False,) * len(columns), strict=True))
        self.named = dict(zip(RevenueFact._fields, columns, strict=True))

    @cached_property
    def subs(self) -> AbstractSet[str]:
        """The sub ids that platforms returned."""
        subs = set(self.named["sub"])
        subs.discard("")
        return subs

    def is_whole(self, name: str) -> bool:
        """Whether every row states the measure."""
        return self._whole[name] or None not in self.named[name]

    @classmethod
    def of(cls, rows: Sequence[RevenueFact]) -> Self:
        """These rows by column."""
        if isinstance(rows, cls):
            return rows
        return cls([*zip(*rows, strict=True)] or [()] * len(RevenueFact._fields))

    @classmethod
    def together(cls, parts: Iterable[Sequence[Sequence[Any]]]) -> Self:
        """The rows of several parts, each of them by column."""
        return cls([[*chain.from_iterable(columns)] for columns in zip(*parts, strict=True)])

    def __len__(self) -> int:
        return len(self._columns[0])

    def __iter__(self) -> Iterator[RevenueFact]:
        return map(_fact, zip(*self._columns, strict=True))

    @overload
    def __getitem__(self, at: int) -> RevenueFact: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[RevenueFact, ...]: ...
    def __getitem__(self, at: int | slice) -> RevenueFact | tuple[RevenueFact, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        return _fact([column[at] for column in self._columns])


def picker(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """What picks the values at these places out of a column."""
    if len(places) == 1:
        (only,) = places
        return lambda column: (column[only],)
    return itemgetter(*places)
