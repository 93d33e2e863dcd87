"""Imports from other trackers: their entities, daily figures, click ids and old links."""

import sqlalchemy as sa
from alembic import op

from storage.tables.types import Day, Instant, Json, Key

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    _imports()
    _figures()
    op.create_table(
        "campaign_aliases",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column(
            "team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_campaign_aliases_team_id"), nullable=False
        ),
        sa.Column(
            "campaign_id", sa.BigInteger(),
            sa.ForeignKey("campaigns.id", name="fk_campaign_aliases_campaign_id"), nullable=False,
        ),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.UniqueConstraint("team_id", "alias", name="uq_campaign_aliases_team_id_alias"),
    )  # fmt: skip
    op.create_table(
        "imported_clicks",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("click", sa.Text(), nullable=False),
        sa.Column("click_id", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("click_id", name="uq_imported_clicks_click_id"),
        sa.PrimaryKeyConstraint("team_id", "click", name="pk_imported_clicks"),
    )


def _imports() -> None:
    op.create_table(
        "imports",
        sa.Column("id", Key, primary_key=True, autoincrement=True),
        sa.Column("team_id", sa.BigInteger(), sa.ForeignKey("teams.id", name="fk_imports_team_id"), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("settings", Json, nullable=False),
        sa.Column("credentials_secret", sa.Text()),
        sa.Column("plan", Json),
        sa.Column("progress", Json),
        sa.Column("result", Json),
        sa.Column("error", sa.Text()),
        sa.Column("room", Json),
        sa.Column("finished_at", Instant),
    )
    op.create_index("ix_imports_team_id_id", "imports", ["team_id", "id"])
    op.create_index("ix_imports_state", "imports", ["state"])
    op.create_table(
        "import_parts",
        sa.Column(
            "import_id", sa.BigInteger(), sa.ForeignKey("imports.id", name="fk_import_parts_import_id"), nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_import_parts"),
    )
    op.create_table(
        "imported_entities",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.BigInteger(), nullable=False),
        sa.Column("made", Json, nullable=False),
        sa.PrimaryKeyConstraint("team_id", "system", "host", "kind", "key", name="pk_imported_entities"),
    )
    op.create_index("ix_imported_entities_kind_entity_id", "imported_entities", ["kind", "entity_id"])


def _figures() -> None:
    measures = (
        "clicks", "unique_clicks", "conversions", "registrations", "first_deposits", "deposits", "qualified",
        "reversals", "revenue", "cost",
    )  # fmt: skip
    op.create_table(
        "imported_days",
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("day", Day, nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in measures),
        sa.PrimaryKeyConstraint(
            "team_id", "day", "campaign_id", "offer_id", "country", "system", "host", "currency",
            name="pk_imported_days",
        ),
    )  # fmt: skip
    op.create_index("ix_imported_days_campaign_id", "imported_days", ["campaign_id"])
    op.create_table(
        "cutovers",
        sa.Column("campaign_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("team_id", sa.BigInteger(), nullable=False),
        sa.Column("day", Day, nullable=False),
    )
    op.create_index("ix_cutovers_team_id", "cutovers", ["team_id"])
