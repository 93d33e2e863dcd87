"""Reports are known again by a digest of the answer they were read from."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("revenue_reports", sa.Column("digest", sa.Text(), nullable=True))
    op.add_column("revenue_reports", sa.Column("rows", sa.Integer(), nullable=True))
