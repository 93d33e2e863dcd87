"""Ids of touch marks are never used again; the days of a campaign's code are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":  # a PostgreSQL sequence never goes back
        with op.batch_alter_table("touched", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    with_sub = sa.text("sub != ''")
    op.create_index(
        "ix_revenue_team_id_sub_day", "revenue", ["team_id", sa.text("lower(sub)"), "day"],
        sqlite_where=with_sub, postgresql_where=with_sub,
    )  # fmt: skip
