"""Accounts know which measures their platform reports; merged days are allocated measure by measure."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant

revision = "0005"
down_revision = "0004"

MEASURES = (
    "visits", "registrations", "first_deposits", "deposits", "qualified", "deposit_amount", "ngr", "commission_cpa",
    "commission_revshare", "commission_other",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "account_measures",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "measure", name=op.f("pk_account_measures")),
    )
    op.create_index(op.f("ix_account_measures_team_id"), "account_measures", ["team_id"])
    revenue = sa.table("revenue", *(sa.column(name) for name in ("account_id", "team_id", "recorded_at", *MEASURES)))
    names = ["account_id", "measure", "team_id", "since"]
    known = sa.table("account_measures", *(sa.column(name) for name in names))
    r = revenue.c
    for name in MEASURES:
        first = sa.select(r.account_id, sa.literal(name, sa.Text()), r.team_id, sa.func.min(r.recorded_at))
        stated = first.where(r[name].is_not(None)).group_by(r.account_id, r.team_id)
        op.execute(known.insert().from_select(names, stated))
    op.execute("INSERT INTO touched (team_id, day) SELECT team_id, day FROM merged")  # cells have another shape now
    op.execute("DELETE FROM report_pages")
    op.execute("DELETE FROM merged")
