"""The writer's statements, built once with SQLAlchemy and compiled for the database at hand.

The hot path hands plain tuples to the driver; so columns get what lies on disk (days as numbers, JSON as text).
"""

from typing import Any

from sqlalchemy import Dialect, Table, Text, bindparam, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.base import Executable

from storage.clicks.write_jobs import NOT_SHORT
from storage.tables import SUBS, cap_counts, click_rollup, clicks, faults, outgoing, touched, user_agents
from storage.tables.types import Json

COUNTS = ("clicks", "unique_clicks", "bot_clicks", "site_visits", "outgoing", "cost")


class Compiled:
    """SQL text with positional parameters, in the order of `names`."""

    __slots__ = ("names", "text")

    def __init__(self, statement: Executable, dialect: Dialect, columns: list[str] | None = None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        self.text = str(compiled)
        self.names: tuple[str, ...] = tuple(compiled.positiontup)


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
        given = bindparam(f"b_{column.name}", type_=Text() if isinstance(column.type, Json) else column.type)
        missing = {"cost": "-1", "visitor": None, "ip_hash": None}.get(column.name, "''")
        plain = not column.nullable or missing is None
        values[column.name] = given if plain else func.nullif(given, literal_column(str(missing)))
    return values


CAME = select(
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

        whole = _or_null()
        self.clicks = make(upsert(clicks).values(**whole))
        self.clicks_short = make(
            upsert(clicks).values(**{name: value for name, value in whole.items() if name not in NOT_SHORT})
        )
        self.clicks_once = make(upsert(clicks).values(**whole).on_conflict_do_nothing().returning(clicks.c.id))
        self.rollup = make(_adding(click_rollup, COUNTS), _columns(click_rollup))
        self.faults = make(_adding(faults, ("n",)), _columns(faults))
        self.touched = make(insert(touched), ["team_id", "day"])
        named = _columns(user_agents, "id")
        self.agent = make(upsert(user_agents).on_conflict_do_nothing(index_elements=["text"]), named)
        self.agent_id = make(select(user_agents.c.id).where(user_agents.c.text == bindparam("text")))
        self.cap_held = make(_adding(cap_counts, ("n",)).returning(cap_counts.c.n), _columns(cap_counts))
        self.cap_used = make(
            select(cap_counts.c.n).where(
                cap_counts.c.offer_id == bindparam("offer"),
                cap_counts.c.event == bindparam("event"),
                cap_counts.c.period == bindparam("period"),
            )
        )
        self.came = make(CAME)
        self.store_outgoing = make(
            update(clicks)
            .values(offer_id=bindparam("offer"))
            .where(clicks.c.id == bindparam("click"), clicks.c.offer_id == 0)
            .returning(clicks.c.id)
        )
        self.outgoing = make(upsert(outgoing).on_conflict_do_nothing().returning(outgoing.c.id), _columns(outgoing))
