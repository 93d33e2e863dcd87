"""Webhooks: what happens, told to addresses of the team's own."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant, Json, Key

revision = "0026"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_webhooks_team_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", Json, nullable=False),
        sa.Column("campaigns", Json),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("limits", Json),
        sa.Column("member_id", sa.BigInteger()),
        sa.Column("token_id", sa.BigInteger()),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("removed_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
    )
    op.create_index("ix_webhooks_team_id_status", "webhooks", ["team_id", "status"])
    op.add_column("outbound", sa.Column("webhook_id", sa.BigInteger()))
    op.create_index("ix_outbound_webhook_id", "outbound", ["webhook_id"])
