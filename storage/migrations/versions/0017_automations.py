"""Automations and their acts; outgoing requests that no conversion is behind."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant, Json, Key

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "automations",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_automations_team_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("room_id", sa.BigInteger(), sa.ForeignKey("rooms.id", name="fk_automations_room_id"), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False, server_default=""),
        sa.Column("terms", Json, nullable=False),
        sa.Column("campaigns", Json),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stopped_why", sa.Text()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("member_id", sa.BigInteger()),
        sa.Column("token_id", sa.BigInteger()),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("webhook_secret", sa.Text()),
        sa.Column("subjects", Json, nullable=False),
        sa.Column("waiting", Json, nullable=False),
        sa.Column("removed_at", Instant),
        sa.Column("created_at", Instant, nullable=False),
    )
    op.create_index("ix_automations_team_id_status", "automations", ["team_id", "status"])
    op.create_table(
        "automation_acts",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column(
            "team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_automation_acts_team_id"), nullable=False
        ),
        sa.Column(
            "automation_id", sa.BigInteger(),
            sa.ForeignKey("automations.id", name="fk_automation_acts_automation_id"), nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("command", sa.Text()),
        sa.Column("arguments", Json),
        sa.Column("audit_id", sa.BigInteger()),
        sa.Column("outbound_id", sa.BigInteger()),
        sa.Column("lift_at", Instant),
        sa.Column("lifted_at", Instant),
        sa.UniqueConstraint("key", name="uq_automation_acts_key"),
    )  # fmt: skip
    op.create_index("ix_automation_acts_automation_id_id", "automation_acts", ["automation_id", "id"])
    op.create_index("ix_automation_acts_subject_at", "automation_acts", ["subject", "at"])
    op.create_index("ix_automation_acts_lift_at", "automation_acts", ["lift_at"])
    _open_outbound()


def _open_outbound() -> None:
    """SQLite changes a column by copying its table, which rows that refer to it forbid: they wait beside it."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        op.execute("CREATE TABLE outbound_attempts_waiting AS SELECT * FROM outbound_attempts")
        op.execute("DELETE FROM outbound_attempts")
    with op.batch_alter_table("outbound") as outbound:
        outbound.alter_column("source_id", existing_type=sa.BigInteger(), nullable=True)
        outbound.alter_column("conversion_id", existing_type=sa.BigInteger(), nullable=True)
        outbound.add_column(sa.Column("automation_id", sa.BigInteger()))
    if sqlite:
        op.execute("INSERT INTO outbound_attempts SELECT * FROM outbound_attempts_waiting")
        op.execute("DROP TABLE outbound_attempts_waiting")
