"""What the bot says, free of any platform: a Message of blocks, rendered per channel.

Text in blocks is plain: renderers escape it, so names with markup or mentions show as typed. Renderers must accept
every block, cut to their platform's limits, and never raise.
"""

from typing import Literal

import msgspec


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A paragraph; `strong` for one that stands out, `code` for one to copy as it is."""

    text: str
    strong: bool = False
    code: bool = False


class Fields(msgspec.Struct, frozen=True, tag="fields"):
    """Labels with values, in order."""

    fields: tuple[tuple[str, str], ...]


class Table(msgspec.Struct, frozen=True, tag="table"):
    """A table; `numeric` columns are set to the right. Long ones are cut, with one note, or shown in pages.

    `phone`: the columns that matter where only five have room. `total`: the last row is a sum, shown whatever is cut.
    `more`: rows there are beyond those given; `rest` says where they all are ("CSV has them all"). `legend`: what the
    signs in it mean, shown where all its columns are.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    phone: tuple[int, ...] = ()
    total: bool = False
    more: int = 0
    rest: str = ""
    legend: str = ""


class Series(msgspec.Struct, frozen=True):
    """One line or row of bars; None leaves a gap. A `provisional` one belongs to the series before it, and is drawn
    paler: its days are not settled yet."""

    name: str
    values: tuple[float | None, ...]
    kind: Literal["line", "bar"] = "line"
    provisional: bool = False


class Chart(msgspec.Struct, frozen=True, tag="chart"):
    """Values over days; where no picture can be shown, the last values stand as text.

    `ranked`: the labels are names, best first, and the one series is drawn as a bar beside each. `heat`: a heat map, a
    row for each series and a column for each label.
    """

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str = ""
    ranked: bool = False
    heat: bool = False

    def unit_of(self, series: Series) -> str:
        """The unit of a series: where lines go with bars, the bars are amounts in it and the lines plain counts."""
        beside_bars = series.kind == "line" and any(other.kind == "bar" for other in self.series)
        return "" if beside_bars else self.unit


class Button(msgspec.Struct, frozen=True):
    """A button that runs a command as the person who presses it, or opens a link."""

    label: str
    command: str = ""
    url: str = ""
    style: Literal["normal", "primary", "danger"] = "normal"


class Buttons(msgspec.Struct, frozen=True, tag="buttons"):
    buttons: tuple[Button, ...]


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something to notice: what went well, what to look at, what failed."""

    level: Literal["ok", "info", "warning", "error"]
    text: str


class File(msgspec.Struct, frozen=True, tag="file"):
    """A file to download: text (CSV …), or bytes (PDF) in `binary`."""

    name: str
    content: str
    mime: str = "text/csv"
    binary: bytes = b""

    @property
    def data(self) -> bytes:
        """The content as it is sent."""
        return self.binary or self.content.encode()

    @property
    def text(self) -> str:
        """The content as text; of bytes how many they are."""
        return f"({len(self.binary):,} bytes)" if self.binary else self.content


Block = Text | Fields | Table | Chart | Buttons | Notice | File


class Message(msgspec.Struct, frozen=True):
    """`title` is the first line and the push notification; `private` shows it to the asker only, where possible."""

    title: str
    blocks: tuple[Block, ...] = ()
    private: bool = False


def error(text: str, *, usage: str = "") -> Message:
    """An error for the asker's eyes: what is wrong, and what to do."""
    blocks: tuple[Block, ...] = (Text(usage, code=True),) if usage else ()
    return Message(text, blocks, private=True)
