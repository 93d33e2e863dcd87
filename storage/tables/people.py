"""Who works here: teams, members, rooms, tokens, confirmations, the audit trail."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, UniqueConstraint, false, true

from storage.tables.base import index, key, metadata, named, reference, team
from storage.tables.types import Instant, Json

teams = Table(
    "teams",
    metadata,
    key(),
    Column("name", Text, nullable=False),
    Column("code", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    Index("ix_teams_code", "code", unique=True),
)

#: Deployment-wide facts by name: report time zone, click id key, installation tokens …
facts = Table("facts", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

#: A chat room (Slack channel, Telegram chat) and the team it speaks for.
rooms = Table(
    "rooms",
    metadata,
    key(),
    team(),
    Column("face", Text, nullable=False),  # slack | telegram | terminal
    Column("workspace", Text, nullable=False, server_default=""),  # Slack team id, else empty
    Column("room", Text, nullable=False),  # channel or chat id
    Column("title", Text, nullable=False, server_default=""),
    Column("private", Boolean, nullable=False, server_default=false()),  # one person's own chat with the bot
    Column("heard", Boolean, nullable=False, server_default=true()),  # false: only named so far, no member wrote there
    Column("lost_at", Instant),  # when the platform said we may no longer write there
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("face", "workspace", "room"),
)

members = named(
    "members",
    Column("role", Text, nullable=False),
    Column("campaigns", Json),  # codes a buyer or viewer is limited to; null: all
    Column("removed_at", Instant),
)

#: How a member is known on a face: Slack user id, Telegram user id.
identities = Table(
    "identities",
    metadata,
    key(),
    team(),
    reference("member_id", "members"),
    Column("face", Text, nullable=False),
    Column("workspace", Text, nullable=False, server_default=""),
    Column("user", Text, nullable=False),
    UniqueConstraint("face", "workspace", "user"),
)

invites = Table(
    "invites",
    metadata,
    key(),
    team(),
    Column("code_hash", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("campaigns", Json),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("made_by", Text),  # as `actor` of the audit trail
)

tokens = named(
    "tokens",
    Column("role", Text, nullable=False),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("revoked_at", Instant),
    Column("kind", Text, nullable=False, server_default="api"),  # api | session (of the cockpit) | link (signs in once)
    Column("expires_at", Instant),  # null: never
    Column("used_at", Instant),  # the last use, to the hour
    Column("member_id", BigInteger),  # whose session or link it is; their role of now is what counts
    Column("parent_id", BigInteger),  # the API token that a session or link was made with, and ends with
    Column("made_by", Text),  # an API token's maker, as `actor` of the audit trail
)

confirmations = Table(
    "confirmations",
    metadata,
    key(),
    team(),
    Column("code", Text, nullable=False, unique=True),
    Column("actor", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
)

audits = Table(
    "audits",
    metadata,
    key(),
    team(),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),  # a member's code, a token's code, or "shell"
    Column("face", Text, nullable=False),
    Column("room", Text, nullable=False, server_default=""),
    Column("command", Text, nullable=False),
    Column("arguments", Json, nullable=False),  # secrets masked
    Column("entity", Text),
    Column("entity_id", BigInteger),
    Column("before", Json),
    Column("after", Json),
    index("team_id", "at"),
)

#: What a chat face handled already: an event id or update id once, for five minutes and more.
handled = Table(
    "handled",
    metadata,
    Column("key", Text, primary_key=True),
    Column("at", Instant, nullable=False),
    index("at"),
)

#: An unfinished step-by-step dialogue; survives a restart.
dialogues = Table(
    "dialogues",
    metadata,
    key(),
    Column("face", Text, nullable=False),
    Column("room", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("state", Json, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("face", "room", "user"),
)

#: What a chat button stands for, where the platform's buttons carry too little to say it (Telegram: 64 bytes).
presses = Table(
    "presses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("command", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

#: One runner at a time: a job's holder and when its lease lapses.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Instant, nullable=False),
)

#: Counts every change of configuration; processes watch it to refresh their plans.
changes = Table("changes", metadata, Column("id", Integer, primary_key=True), Column("n", BigInteger, nullable=False))
