"""Sites whose page lies elsewhere or is the team's own files, and the events that pages name."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Json

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("sites", sa.Column("page", sa.Text()))
    op.add_column("site_views", sa.Column("events", Json, nullable=False, server_default="[]"))
    op.create_table(
        "site_files",
        sa.Column("site_id", sa.BigInteger(), sa.ForeignKey("sites.id", name="fk_site_files_site_id"), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "path", name="pk_site_files"),
    )
