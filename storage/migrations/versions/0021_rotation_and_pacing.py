"""How long a campaign's visitors count as the same, unseen offers first, budgets spread over the day."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Json

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    for column in (
        sa.Column("unique_period", sa.Integer()),
        sa.Column("unique_scope", sa.Text()),
        sa.Column("smart_rotation", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("pacing", sa.Text()),
        sa.Column("usual_hours", Json),
    ):
        op.add_column("campaigns", column)
