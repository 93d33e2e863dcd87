"""Tokens may expire; sessions of the cockpit and the links that begin them are kept among them."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Instant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("kind", sa.Text(), nullable=False, server_default="api"))
    op.add_column("tokens", sa.Column("expires_at", Instant(), nullable=True))
    op.add_column("tokens", sa.Column("used_at", Instant(), nullable=True))
    op.add_column("tokens", sa.Column("member_id", sa.BigInteger(), nullable=True))
    op.add_column("tokens", sa.Column("parent_id", sa.BigInteger(), nullable=True))
