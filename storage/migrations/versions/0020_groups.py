"""Groups, tags, notes and archiving; digests and alerts of a group or tag."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant, Json, Key

revision = "0020"
down_revision = "0019"

_SORTED = ("accounts", "casinos", "offers", "sites", "domains", "sources", "campaigns")


def upgrade() -> None:
    op.create_table(
        "groups",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_groups_team_id"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.UniqueConstraint("team_id", "code", name="uq_groups_team_id_code"),
        sa.UniqueConstraint("team_id", "name", name="uq_groups_team_id_name"),
    )
    for table in _SORTED:
        op.add_column(table, sa.Column("group_code", sa.Text()))
        op.add_column(table, sa.Column("tags", Json, nullable=False, server_default="[]"))
        op.add_column(table, sa.Column("note", sa.Text()))
        op.add_column(table, sa.Column("archived_from", sa.Text()))
    for table in ("subscriptions", "alerts"):
        op.add_column(table, sa.Column("sorted_by", Json))
