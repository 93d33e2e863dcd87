"""What the last sync of an account noticed in its report, and that report's shape, are kept with the account."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("sync_warnings", sa.Text(), nullable=True))
    op.add_column("accounts", sa.Column("report_shape", sa.Text(), nullable=True))
