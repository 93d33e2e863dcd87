"""What goes to traffic sources is looked up by host, however long the outbox is."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(op.f("ix_outbound_state_host_next_at"), "outbound", ["state", "host", "next_at"])
    op.drop_index(op.f("ix_outbound_state_next_at"), table_name="outbound")
