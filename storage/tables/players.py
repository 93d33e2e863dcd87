"""Players as platforms report them, day by day, and the sums over them that cohorts are read from."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Day, Instant

#: Figures of a player; null where the platform does not report the measure. Amounts are micro-units.
PLAYER_MEASURES = ("deposits", "deposit_amount", "ngr", "commission")

#: A player of an account. `key` is a keyed hash of the platform's id, which itself is kept only if the team says so.
players = Table(
    "players",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    Column("key", Text, nullable=False),
    Column("player_id", Text),
    Column("sub", Text, nullable=False, server_default=""),  # what came back as our click id or campaign code
    Column("tag_key", Text, nullable=False, server_default=""),
    Column("offer_id", BigInteger, nullable=False, server_default="0"),  # 0: none known, as in the next ones
    Column("campaign_id", BigInteger, nullable=False, server_default="0"),
    Column("source_id", BigInteger, nullable=False, server_default="0"),
    Column("country", Text, nullable=False, server_default=""),
    Column("currency", Text, nullable=False),
    Column("registered", Day, nullable=False),
    Column("registration_stated", Boolean, nullable=False),  # else the first day the platform reported
    Column("ftd_day", Day),
    # Figures until this day are one sum: when each came is unknown. Null: told day by day, since `player_feeds.since`.
    Column("known_from", Day),
    Column("forgotten", Boolean, nullable=False, server_default=false()),  # erased: later reports are not taken
    Column("recorded_at", Instant, nullable=False),
    UniqueConstraint("account_id", "key"),
    index("team_id", "registered"),
)

#: What a player did on a day: of totals that a platform restates, what they rose or fell by since the day before.
player_days = Table(
    "player_days",
    metadata,
    Column("player_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    *(Column(name, BigInteger) for name in PLAYER_MEASURES),
    Column("recorded_at", Instant, nullable=False),
    PrimaryKeyConstraint("player_id", "day"),
    index("account_id", "day"),
)

#: The days without a gap for which an account's players are reported.
player_feeds = Table(
    "player_feeds",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("team_id", BigInteger, nullable=False),
    Column("since", Day, nullable=False),
    Column("until", Day, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

#: Weeks of registration whose sums are out of date: appended with the facts, read first and deleted after.
touched_cohorts = Table(
    "touched_cohorts",
    metadata,
    key(),
    Column("team_id", BigInteger, nullable=False),
    Column("week", Day, nullable=False),
    sqlite_autoincrement=True,
)


def _sums() -> list[Column[Any]]:
    """What players of a week did: counts and amounts in all, and by age as `storage.ledger.reports.cohorts.Ages`."""
    return [
        Column("registrations", BigInteger, nullable=False),
        *(Column(name, BigInteger) for name in ("deposits", "deposit_amount", "ngr")),
        Column("ages", LargeBinary, nullable=False),
    ]


#: Players of a week of registration summed up by one dimension: recomputed whole, week by week.
cohort_weeks = Table(
    "cohort_weeks",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("dimension", Text, nullable=False),  # week (all players), campaign, source, offer, account, country
    Column("week", Day, nullable=False),  # its Monday
    Column("value", Text, nullable=False),  # an id, or a country; empty for `week`
    Column("currency", Text, nullable=False),
    *_sums(),
    PrimaryKeyConstraint("team_id", "dimension", "week", "value", "currency"),
)

#: The same by all dimensions at once, for reports that are filtered by one and grouped by another.
cohort_cells = Table(
    "cohort_cells",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("week", Day, nullable=False),
    *(Column(f"{name}_id", BigInteger, nullable=False) for name in ("campaign", "source", "offer", "account")),
    Column("country", Text, nullable=False),
    Column("currency", Text, nullable=False),
    *_sums(),
    PrimaryKeyConstraint(
        "team_id", "week", "campaign_id", "source_id", "offer_id", "account_id", "country", "currency"
    ),
)
