"""The rows of a list of entities as HTML: name, status, group, columns of their kind, the latest figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from hub.cockpit.figures import NONE
from hub.cockpit.page import Visit
from hub.cockpit.parts import safe, state
from storage.ledger.reports.report_rows import ReportRow

_NUMBER = '<td class="number">'


def state_of(item: Any) -> str:
    """An entity's status, empty for one of a kind without any."""
    return str(getattr(item, "status", "") or "")


class EntityTable:
    """How the page of a list shows entities; `names` are names by code, by kind, `figures` report rows by code."""

    def __init__(
        self, visit: Visit, noun: str, columns: Sequence[str], names: Mapping[str, Mapping[str, str]],
        figures: Mapping[str, ReportRow] | None, *, grouped: bool,
    ) -> None:  # fmt: skip
        self._visit, self._show = visit, visit.show
        self._page = f"/cockpit/{noun}"
        self._columns, self._names, self._figures, self._grouped = columns, names, figures, grouped
        self._links: dict[tuple[str, str], str] = {}

    def row(self, item: Any) -> str:
        """One entity's row."""
        code, name = safe(item.code), safe(item.name)
        status = state_of(item)
        cells = [
            f'<tr><td><input type="checkbox" name="chosen" value="{code}" aria-label="Choose {name}"></td>',
            f'<td class="name"><a href="{self._page}/{code}">{name}</a><small>{code}</small>{self._tags(item)}</td>',
            f"<td>{state(status) if status else ''}</td>",
        ]
        if self._grouped:
            cells.append(f"<td>{self._group(item)}</td>")
        cells += [f"<td>{safe(self._text(item, key))}</td>" for key in self._columns]
        if self._figures is not None:
            cells.append(self._numbers(self._figures.get(item.code)))
        return f"{''.join(cells)}</tr>\n"

    def _tags(self, item: Any) -> str:
        tags = getattr(item, "tags", ())
        if not tags:
            return ""
        chips = (f'<a class="chip" href="{self._link("tag", tag)}">{safe(tag)}</a>' for tag in tags)
        return f'<div class="tags">{"".join(chips)}</div>'

    def _group(self, item: Any) -> str:
        code = getattr(item, "group", None)
        if not code:
            return ""
        name = self._names["group"].get(code, code)
        return f'<a href="{self._link("group", code)}">{safe(name)}</a>'

    def _link(self, name: str, value: str) -> str:
        """The list narrowed by a tag or a group."""
        link = self._links.get((name, value))
        if link is None:
            link = self._links[name, value] = safe(self._visit.link(**{name: value, "after": None}))
        return link

    def _text(self, item: Any, key: str) -> str:
        value = getattr(item, key, None)
        return self._show.text(self._names.get(key, {}).get(value, value) if isinstance(value, str) else value)

    def _numbers(self, row: ReportRow | None) -> str:
        show = self._show
        if row is None:
            return f"{_NUMBER}{NONE}</td>" * 5
        texts = (
            show.count(row.clicks), show.count(row.registrations.merged), show.count(row.first_deposits.merged),
            show.money(row.commission, missing="pending" if row.settlement != "settled" else NONE),
            show.money(row.profit),
        )  # fmt: skip
        return "".join(f"{_NUMBER}{safe(text)}</td>" for text in texts)
