"""A version of each account, raised by every batch of its postbacks (storage.postbacks.account_versions)."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("postback_version", sa.BigInteger(), nullable=False, server_default="0"))
