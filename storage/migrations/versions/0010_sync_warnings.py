"""What the last sync of an account noticed in its report is kept with the account."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("sync_warnings", sa.Text(), nullable=True))
