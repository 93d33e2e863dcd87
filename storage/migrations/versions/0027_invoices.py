"""Invoices in numbered order, and what a team writes on them."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day, Instant, Json, Key

revision = "0027"
down_revision = "0025"


def upgrade() -> None:
    op.create_table(
        "billing",
        sa.Column("team_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("details", Json, nullable=False),
    )
    op.create_table(
        "invoices",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_invoices_team_id"), nullable=False),
        sa.Column(
            "account_id", sa.BigInteger(), sa.ForeignKey("accounts.id", name="fk_invoices_account_id"), nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("issued", Day, nullable=False),
        sa.Column("due", Day, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("sender", Json, nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", Instant, nullable=False),
        sa.UniqueConstraint("team_id", "number", name="uq_invoices_team_id_number"),
    )
    op.create_index("ix_invoices_account_id_due", "invoices", ["account_id", "due"])
