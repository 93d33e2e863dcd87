"""Sums over players with all ages in one row, by one dimension and by all at once; weeks are summed up again."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day

revision = "0029"
down_revision = "0028"

_IDS = ("campaign_id", "source_id", "offer_id", "account_id")


def _sums() -> list[sa.Column[Any]]:
    return [
        _number("registrations"),
        *(sa.Column(name, sa.BigInteger()) for name in ("deposits", "deposit_amount", "ngr")),
        sa.Column("ages", sa.LargeBinary(), nullable=False),
    ]


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "cohort_weeks",
        _number("team_id"),
        _text("dimension"),
        sa.Column("week", Day, nullable=False),
        _text("value"),
        _text("currency"),
        *_sums(),
        sa.PrimaryKeyConstraint("team_id", "dimension", "week", "value", "currency", name="pk_cohort_weeks"),
    )
    op.create_table(
        "cohort_cells",
        _number("team_id"),
        sa.Column("week", Day, nullable=False),
        *map(_number, _IDS),
        _text("country"),
        _text("currency"),
        *_sums(),
        sa.PrimaryKeyConstraint("team_id", "week", *_IDS, "country", "currency", name="pk_cohort_cells"),
    )
    op.drop_table("cohort_sums")  # a hub of the release before cannot take the marks that follow
    op.execute(
        "INSERT INTO touched_cohorts (team_id, week) "
        "SELECT DISTINCT team_id, registered - (registered + 3) % 7 FROM players"  # 1970-01-01 was a Thursday
    )
