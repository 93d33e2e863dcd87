"""Rooms that were only named go to the team whose member writes there first."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("rooms", sa.Column("heard", sa.Boolean(), nullable=False, server_default=sa.true()))
