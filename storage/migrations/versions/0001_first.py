"""The first schema."""

import sqlalchemy as sa
from alembic import op

from storage.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    if connection.dialect.name == "postgresql":
        op.execute(sa.text("CREATE TABLE clicks_default PARTITION OF clicks DEFAULT"))
    op.execute(sa.text("INSERT INTO changes (id, n) VALUES (1, 0)"))
