"""Players, what each did day by day, and the sums that cohorts are read from."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day, Instant, Key

revision = "0025"
down_revision = "0026"

_MEASURES = ("deposits", "deposit_amount", "ngr", "commission")


def _measures() -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger()) for name in _MEASURES]


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "players",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_players_team_id"), nullable=False),
        sa.Column(
            "account_id", sa.BigInteger(), sa.ForeignKey("accounts.id", name="fk_players_account_id"), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("player_id", sa.Text()),
        _text("sub"),
        _text("tag_key"),
        *(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
          for name in ("offer_id", "campaign_id", "source_id")),
        _text("country"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("registered", Day, nullable=False),
        sa.Column("registration_stated", sa.Boolean(), nullable=False),
        sa.Column("ftd_day", Day),
        sa.Column("known_from", Day),
        sa.Column("forgotten", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.UniqueConstraint("account_id", "key", name="uq_players_account_id_key"),
    )  # fmt: skip
    op.create_index("ix_players_team_id_registered", "players", ["team_id", "registered"])
    op.create_table(
        "player_days",
        _number("player_id"),
        sa.Column("day", Day, nullable=False),
        _number("account_id"),
        *_measures(),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("player_id", "day", name="pk_player_days"),
    )
    op.create_index("ix_player_days_account_id_day", "player_days", ["account_id", "day"])
    op.create_table(
        "player_feeds",
        sa.Column("account_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        _number("team_id"),
        sa.Column("since", Day, nullable=False),
        sa.Column("until", Day, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
    )
    op.create_table(
        "touched_cohorts",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        _number("team_id"),
        sa.Column("week", Day, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cohort_sums",
        _number("team_id"),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("week", Day, nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("band", sa.Integer(), nullable=False),
        *map(_number, ("registrations", "observed", "first_deposits", "active")),
        *_measures(),
        sa.PrimaryKeyConstraint("team_id", "dimension", "week", "value", "currency", "band", name="pk_cohort_sums"),
    )
