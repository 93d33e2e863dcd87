"""The statements of a batch of clicks, for SQLite and for PostgreSQL, and the rows that PostgreSQL is given as JSON."""

from typing import Any

import msgspec
from sqlalchemy import (
    Dialect,
    Table,
    Text,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from storage.clicks.write_jobs import NOT_SHORT
from storage.db.bulk_sql import Compiled, json_insert
from storage.ledger.facts import SUBS
from storage.tables import (
    budget_counts,
    cap_counts,
    click_rollup,
    clicks,
    faults,
    outgoing,
    touched,
    user_agents,
    visitors,
)
from storage.tables.types import Json

COUNTS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "cost")


class ClickRow(msgspec.Struct, omit_defaults=True):
    """A row of `clicks`: the fields of `Click.short_row` in their order, then those of NOT_SHORT; a default is NULL."""

    id: int
    team_id: int
    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    hour: int
    unique_click: int
    bot: int
    reason: int
    user_agent_id: int
    country: str = ""
    language: str = ""
    visitor: bytearray | None = None
    ip_hash: bytearray | None = None
    referrer: str = ""
    source_click_id: str = ""
    cost: int = -1
    currency: str = ""
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    sub6: str = ""
    sub7: str = ""
    sub8: str = ""
    sub9: str = ""
    sub10: str = ""
    ip_prefix: str = ""
    extra: str = ""


class RollupRow(msgspec.Struct):
    """A row of `click_rollup`, or what is added to it."""

    team_id: int
    hour: int
    campaign_id: int
    site_id: int
    offer_id: int
    source_id: int
    country: str
    device: str
    currency: str
    clicks: int
    unique_clicks: int
    bot_clicks: int
    site_visits: int
    outgoing: int
    cost: int


class VisitorRow(msgspec.Struct):
    """A row of `visitors`."""

    id: int
    click_id: int
    offer_id: int


class FaultRow(msgspec.Struct):
    """A row of `faults`, or what is added to it."""

    team_id: int
    day: int
    kind: str
    subject: str
    n: int


class TouchMark(msgspec.Struct):
    """A row of `touched`."""

    team_id: int
    day: int


def _columns(table: Table, *without: str) -> list[str]:
    return [column.name for column in table.columns if column.name not in without]


def _adding(table: Table, counts: tuple[str, ...]) -> Any:
    """Insert, or add the counts to the row there is."""
    statement = upsert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in counts},
    )


def _or_null() -> dict[str, Any]:
    """A click's values, of which empty texts and a cost of -1 become NULL."""
    values: dict[str, Any] = {}
    for column in clicks.columns:
        value = bindparam(f"b_{column.name}", type_=Text() if isinstance(column.type, Json) else column.type)
        missing = {"cost": "-1", "visitor": None, "ip_hash": None}.get(column.name, "''")
        plain = not column.nullable or missing is None
        values[column.name] = value if plain else func.nullif(value, literal_column(str(missing)))
    return values


_ORIGIN = select(
    clicks.c.id, clicks.c.team_id, clicks.c.campaign_id, clicks.c.site_id, clicks.c.offer_id, clicks.c.source_id,
    clicks.c.hour, clicks.c.unique_click, clicks.c.bot, clicks.c.cost, clicks.c.currency, clicks.c.country,
    user_agents.c.device, clicks.c.source_click_id, *(clicks.c[name] for name in SUBS),
).join_from(clicks, user_agents, clicks.c.user_agent_id == user_agents.c.id, isouter=True).where(
    clicks.c.id == bindparam("click_id")
)  # fmt: skip


class Statements:
    """All of them, for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        def make(statement: Any, columns: list[str] | None = None) -> Compiled:
            return Compiled(statement, dialect, columns)

        self.nothing = make(select(literal_column("1")))  # asks whether the database answers
        row = _or_null()
        self.clicks = make(upsert(clicks).values(**row))
        self.clicks_short = make(
            upsert(clicks).values(**{name: value for name, value in row.items() if name not in NOT_SHORT})
        )
        self.clicks_once = make(upsert(clicks).values(**row).on_conflict_do_nothing().returning(clicks.c.id))
        self.rollup = make(_adding(click_rollup, COUNTS), _columns(click_rollup))
        self.faults = make(_adding(faults, ("n",)), _columns(faults))
        self.touched = make(insert(touched), ["team_id", "day"])
        agent = _columns(user_agents, "id")
        self.agent = make(upsert(user_agents).on_conflict_do_nothing(index_elements=["text"]), agent)
        self.agent_id = make(select(user_agents.c.id).where(user_agents.c.text == bindparam("text")))
        self.budget_spent = make(_adding(budget_counts, ("n",)).returning(budget_counts.c.n), _columns(budget_counts))
        self.cap_held = make(_adding(cap_counts, ("n",)).returning(cap_counts.c.n), _columns(cap_counts))
        self.cap_used = make(
            select(cap_counts.c.n).where(
                cap_counts.c.offer_id == bindparam("offer"),
                cap_counts.c.event == bindparam("event"),
                cap_counts.c.period == bindparam("period"),
            )
        )
        self.origin = make(_ORIGIN)
        self.give_offer = make(
            update(clicks)
            .values(offer_id=bindparam("offer"))
            .where(clicks.c.id == bindparam("click"), clicks.c.offer_id == 0)
            .returning(clicks.c.id)
        )
        self.outgoing = make(upsert(outgoing).on_conflict_do_nothing().returning(outgoing.c.id), _columns(outgoing))


def _inserted(number: int, table: Table, row: type[msgspec.Struct]) -> str:
    return json_insert(number, table, row.__struct_fields__)


def _added(number: int, table: Table, row: type[msgspec.Struct], counts: tuple[str, ...]) -> str:
    keys = ", ".join(column.name for column in table.primary_key.columns)
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in counts)
    return f"{_inserted(number, table, row)} ON CONFLICT ({keys}) DO UPDATE SET {sums}"


POSTGRES_BATCH = f"""
WITH remembered AS (
  {_inserted(1, visitors, VisitorRow)}
  ON CONFLICT (id) DO UPDATE SET click_id = excluded.click_id, offer_id = excluded.offer_id
  WHERE visitors.click_id < $6 RETURNING 1
), stored AS ({_inserted(2, clicks, ClickRow)}),
counted AS ({_added(3, click_rollup, RollupRow, COUNTS)}),
failed AS ({_added(4, faults, FaultRow, ("n",))}),
marked AS ({_inserted(5, touched, TouchMark)})
SELECT 1 / (count(*) = $7::integer)::integer FROM remembered
"""  # noqa: S608 - names of ours
"""What a batch writes on PostgreSQL, as one statement, which is one round trip and needs no other to be a transaction.

Parameters: rows as JSON of visitors, clicks, roll-up, faults and touch marks; the click id before which a visitor is
forgotten; how many visitors there are. A division by zero undoes it all if another process kept one of them meanwhile.
Rows are JSON because encoding them costs the hub half of what COPY or arrays do, and PostgreSQL as much as these.
"""

POSTGRES_CLICKS_ONCE = f"{_inserted(1, clicks, ClickRow)} ON CONFLICT DO NOTHING RETURNING id"
"""Clicks out of a spool, as JSON; the ids of those that were not stored yet."""

POSTGRES_AGENTS = "SELECT text, id FROM user_agents WHERE text = ANY($1::text[])"
"""User agents that have a key."""
