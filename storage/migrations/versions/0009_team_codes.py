"""Teams have codes, by which the operator names them in the shell."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("teams", sa.Column("code", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE teams SET code = 'team-' || id")
    op.execute("UPDATE teams SET code = 'team' WHERE id = (SELECT MIN(id) FROM teams)")
    op.create_index("ix_teams_code", "teams", ["code"], unique=True)
