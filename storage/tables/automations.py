"""Automations, and what they did."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Instant, Json

automations = Table(
    "automations",
    metadata,
    key(),
    team(),
    Column("name", Text, nullable=False),
    reference("room_id", "rooms"),
    Column("thread", Text, nullable=False, server_default=""),
    Column("terms", Json, nullable=False),  # storage.ledger.automations.steps.Terms
    Column("campaigns", Json),  # codes its maker was limited to, null: all
    Column("status", Text, nullable=False),  # active | paused | stopped (by itself)
    Column("stopped_why", Text),
    Column("role", Text, nullable=False),  # of its maker, where no member or token is known
    Column("member_id", BigInteger),  # whose role of now is what counts
    Column("token_id", BigInteger),
    Column("made_by", Text, nullable=False),  # as `actor` of the audit trail
    Column("webhook_secret", Text),  # encrypted
    Column("subjects", Json, nullable=False),  # SubjectState by subject
    Column("waiting", Json, nullable=False),  # why it could not judge, last time
    Column("removed_at", Instant),
    Column("created_at", Instant, nullable=False),
    index("team_id", "status"),
)

#: What automations did, would have done, or could not do; `key` keeps one act from being done twice.
automation_acts = Table(
    "automation_acts",
    metadata,
    key(),
    team(),
    reference("automation_id", "automations"),
    Column("key", Text, nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),  # done | dry | told | refused | waits | stopped
    Column("action", Text, nullable=False),  # pause, resume …, empty for none
    Column("subject", Text, nullable=False),  # offer:12
    Column("label", Text, nullable=False),  # what people call the subject
    Column("why", Text, nullable=False),
    Column("command", Text),
    Column("arguments", Json),
    Column("audit_id", BigInteger),
    Column("outbound_id", BigInteger),
    Column("lift_at", Instant),  # when the pause ends by itself
    Column("lifted_at", Instant),
    index("automation_id", "id"),
    index("subject", "at"),
    Index("ix_automation_acts_lift_at", "lift_at"),
)

#: Clicks by placement and report day, added to in the order of click ids; only of sub ids that an automation asks for.
placement_counts = Table(
    "placement_counts",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("sub", Text, nullable=False),
    Column("day", Integer, nullable=False),  # days since 1970, report time
    Column("campaign_id", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("placement", Text, nullable=False),
    Column("currency", Text, nullable=False),  # of the cost; empty without one
    Column("clicks", BigInteger, nullable=False),  # human clicks
    Column("unique_clicks", BigInteger, nullable=False),
    Column("bot_clicks", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),  # micro-units, human clicks
    PrimaryKeyConstraint("team_id", "sub", "day", "campaign_id", "source_id", "placement", "currency"),
    sqlite_with_rowid=False,
)

#: Up to which click (left out) placements are counted.
placement_cursors = Table(
    "placement_cursors",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("sub", Text, nullable=False),
    Column("counted_until", BigInteger, nullable=False),
    PrimaryKeyConstraint("team_id", "sub"),
)
