"""Long postback bodies: the beginning beside the whole, which is compressed and kept for some days."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("postbacks", sa.Column("packed_body", sa.LargeBinary()))
    op.add_column("postbacks", sa.Column("body_size", sa.BigInteger()))
    packed = sa.text("packed_body IS NOT NULL")
    op.create_index("ix_postbacks_packed", "postbacks", ["received_at"], sqlite_where=packed, postgresql_where=packed)
