"""Errors shown to people: each says what is wrong and how to fix it."""


class CasinoFluxError(Exception):
    """Base of all errors whose text is meant for people."""


class Refused(CasinoFluxError):
    """Bad input. `field` names the argument at fault, the text says what to do instead.

    `word` is the value at fault, `near` those that may have been meant, as they are typed.
    """

    def __init__(self, text: str, field: str | None = None, *, word: str = "", near: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.field, self.word, self.near = field, word, near


class Missing(Refused):
    """Something referred to does not exist."""


class Forbidden(CasinoFluxError):
    """The person's role does not allow it."""


class TooLong(CasinoFluxError):
    """A request was given up because it takes too long; the text says how to narrow it."""


class ConnectorError(CasinoFluxError):
    """A platform did not give what was asked for.

    `permanent` pauses the account and tells the team; otherwise the sync is tried again. `raw` is the answer
    as it came, `whole` if it is all of the report, so that it can be read again after a fix. `retry_after`: seconds.
    `cut_off` if the answer ends too early: worth fetching once more at once. `field` is the credential that was
    refused, where the platform says which.
    """

    def __init__(
        self,
        text: str,
        *,
        permanent: bool = False,
        raw: bytes | None = None,
        retry_after: float | None = None,
        whole: bool = False,
        cut_off: bool = False,
        field: str = "",
    ) -> None:
        super().__init__(text)
        self.cut_off = cut_off
        self.field = field
        self.permanent = permanent
        self.whole = whole
        self.raw = raw
        self.retry_after = retry_after
