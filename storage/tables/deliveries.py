"""What goes out: postbacks to traffic sources, messages to chats, and who asked for them."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text, false

from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Instant, Json

#: Conversions on their way to a traffic source, written in the transaction that accepts the conversion; what
#: automations call, in that of their act; and calls of webhooks, in that of the event.
outbound = Table(
    "outbound",
    metadata,
    key(),
    team(),
    reference("source_id", "sources", nullable=True),
    reference("conversion_id", "conversions", nullable=True),
    Column("automation_id", BigInteger),
    Column("webhook_id", BigInteger),
    Column("event", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("request", Json, nullable=False),  # method, url, headers, body, success rule
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False),  # queued | sent | dead | skipped
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=False),
    Column("claimed_until", Instant),
    Column("created_at", Instant, nullable=False),
    index("state", "host", "next_at"),
    index("conversion_id"),
    index("webhook_id"),
)

#: Addresses of the team's own that receive calls about events.
webhooks = Table(
    "webhooks",
    metadata,
    key(),
    team(),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False),  # storage.outbound.webhooks.EVENTS
    Column("campaigns", Json),  # codes it is about, null: all
    Column("secret", Text, nullable=False),  # encrypted
    Column("status", Text, nullable=False),  # active | paused
    Column("role", Text, nullable=False),  # of its maker, where no member or token is known
    Column("limits", Json),  # codes its maker was limited to, where no member is known
    Column("member_id", BigInteger),  # whose rights of now count
    Column("token_id", BigInteger),
    Column("made_by", Text, nullable=False),  # as `actor` of the audit trail
    Column("removed_at", Instant),
    Column("created_at", Instant, nullable=False),
    index("team_id", "status"),
)

#: What each attempt got.
outbound_attempts = Table(
    "outbound_attempts",
    metadata,
    key(),
    reference("outbound_id", "outbound"),
    Column("at", Instant, nullable=False),
    Column("status", Integer),
    Column("answer", Text, nullable=False, server_default=""),
    Column("error", Text),
    index("outbound_id"),
)

#: A room that wants a digest.
subscriptions = Table(
    "subscriptions",
    metadata,
    key(),
    team(),
    reference("room_id", "rooms"),
    Column("thread", Text, nullable=False, server_default=""),
    Column("every", Text, nullable=False),  # day | week | month
    Column("at", Text, nullable=False),  # HH:MM in its zone
    Column("timezone", Text, nullable=False),
    Column("weekdays", Json),  # 1 … 7, null: all
    Column("campaigns", Json),  # codes, null: all
    Column("sorted_by", Json),  # groups and tags of its campaigns, as they are when it is sent
    Column("next_at", Instant, nullable=False),
    Column("told_until", Instant),  # changes before this moment were in an earlier digest
    Column("disabled_at", Instant),
    Column("created_at", Instant, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    key(),
    team(),
    reference("room_id", "rooms"),
    Column("thread", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False),
    Column("rule", Json, nullable=False),
    Column("campaigns", Json),
    Column("sorted_by", Json),  # groups and tags of its campaigns, as they are when it is looked at
    Column("state", Text, nullable=False, server_default="idle"),  # idle | firing | acknowledged
    Column("history", Json, nullable=False),
    Column("snoozed_until", Instant),
    Column("removed_at", Instant),
    Column("created_at", Instant, nullable=False),
)

#: Messages on their way to rooms; `key` keeps one message from ever being queued twice.
messages = Table(
    "messages",
    metadata,
    key(),
    team(),
    reference("room_id", "rooms"),
    Column("thread", Text, nullable=False, server_default=""),
    Column("key", Text, nullable=False, unique=True),
    Column("message", Json, nullable=False),  # bot.core.message.Message
    Column("state", Text, nullable=False),  # queued | sent | dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=False),
    Column("claimed_until", Instant),
    Column("posted_as", Text),  # the platform's id of the posted message
    Column("error", Text),
    Column("silent", Boolean, nullable=False, server_default=false()),
    Column("subscription_id", BigInteger),
    Column("answers", Text),  # key of an earlier message this one stands under, in its thread
    Column("created_at", Instant, nullable=False),
    index("state", "next_at"),
    index("room_id"),
)
