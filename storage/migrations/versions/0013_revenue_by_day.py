"""One index of revenue by day and sub id in place of two: rows of a day lie together, whatever their sub ids."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_index("ix_revenue_team_id_day_sub", "revenue", ["team_id", "day", sa.text("lower(sub)")])
    op.drop_index("ix_revenue_team_id_sub_day", "revenue")
    op.drop_index("ix_revenue_team_id_day", "revenue")
