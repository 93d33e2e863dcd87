"""Who made a token or an invitation is kept: they end when that member is removed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("made_by", sa.Text(), nullable=True))
    op.add_column("invites", sa.Column("made_by", sa.Text(), nullable=True))
