"""Sites may have their variants' shares set by what visitors earn."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Json

revision = "0023"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("sites", sa.Column("distribution", Json))
