"""What happened in real time: clicks, outgoing clicks, postbacks, conversions, spend."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from storage.ledger.facts import SUBS
from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Day, Instant, Json, Key

#: Each user agent once; clicks point here.
user_agents = Table(
    "user_agents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("text", Text, nullable=False, unique=True),
    Column("device", Text, nullable=False),  # desktop | mobile | tablet | bot | other
    Column("os", Text, nullable=False),
    Column("browser", Text, nullable=False),
)

#: One visit through a tracking link, or straight from a site. Ids are time-ordered (storage.ledger.clicks.click_id);
#: PostgreSQL cuts the table by ranges of them, a day each. Ids of other things are 0 when there is none.
clicks = Table(
    "clicks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("team_id", BigInteger, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("hour", Integer, nullable=False),  # local report hour: days since 1970 * 24 + hour of the day
    Column("unique_click", SmallInteger, nullable=False),
    Column("bot", SmallInteger, nullable=False),  # storage.ledger.facts.Bot
    Column("reason", SmallInteger, nullable=False),  # storage.ledger.facts.Reason: why not the first choice
    Column("user_agent_id", BigInteger, nullable=False),
    Column("country", Text),
    Column("language", Text),
    Column("visitor", LargeBinary),  # 8-byte keyed hash of address and browser; its key lives a day
    Column("ip_hash", LargeBinary),  # 8-byte keyed hash of the address, same key
    Column("ip_prefix", Text),  # /24 or /48, only if the team switched it on
    Column("referrer", Text),
    Column("source_click_id", Text),
    Column("cost", BigInteger),  # micro-units
    Column("currency", Text),
    *(Column(name, Text) for name in SUBS),
    Column("extra", Json),  # unknown parameters
    postgresql_partition_by="RANGE (id)",
)

#: Counts by hour and dimension, added to in the transaction that stores the clicks.
click_rollup = Table(
    "click_rollup",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("country", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("currency", Text, nullable=False),  # of the cost; empty without one
    Column("clicks", BigInteger, nullable=False),  # human clicks
    Column("unique_clicks", BigInteger, nullable=False),
    Column("bot_clicks", BigInteger, nullable=False),
    Column("site_visits", BigInteger, nullable=False),
    Column("outgoing", BigInteger, nullable=False),  # human clicks from the site to the offer
    Column("cost", BigInteger, nullable=False),  # micro-units, human clicks
    PrimaryKeyConstraint(
        "team_id", "hour", "campaign_id", "site_id", "offer_id", "source_id", "country", "device", "currency"
    ),
    sqlite_with_rowid=False,
)

#: A visitor of a campaign going on from its site to an offer; the click id is the campaign's.
outgoing = Table(
    "outgoing",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("team_id", BigInteger, nullable=False),
    Column("click_id", BigInteger, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("bot", SmallInteger, nullable=False),
    Column("position", SmallInteger, nullable=False, server_default="0"),
    index("click_id"),
)

#: Requests that led nowhere: an unknown campaign code, an unreplaced macro of a source; counted per day.
faults = Table(
    "faults",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    Column("kind", Text, nullable=False),  # unknown_code | macro | cut
    Column("subject", Text, nullable=False),  # the code, "source-code:parameter" …
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("team_id", "day", "kind", "subject"),
)

#: How much of an offer's cap is used in a period (its first day, in the platform's zone).
cap_counts = Table(
    "cap_counts",
    metadata,
    Column("offer_id", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("period", Day, nullable=False),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("offer_id", "event", "period"),
)

#: How much of a campaign's budget is used on a report day, in micro-units; 1970-01-01 stands for all days together.
budget_counts = Table(
    "budget_counts",
    metadata,
    Column("campaign_id", BigInteger, nullable=False),
    Column("period", Day, nullable=False),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("campaign_id", "period"),
)

#: Every postback request with a valid key, as it came, and what came of it.
postbacks = Table(
    "postbacks",
    metadata,
    key(),
    team(only_on="sqlite"),  # an account is of one team
    reference("account_id", "accounts"),
    Column("received_at", Instant, nullable=False),
    Column("method", Text, nullable=False),
    Column("query", LargeBinary, nullable=False),
    Column("content_type", Text, nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),  # of a long one the beginning
    Column("packed_body", LargeBinary),  # a long one whole, compressed, for so many days
    Column("body_size", BigInteger),  # of a long one, in bytes
    Column("parameters", Json),  # of requests that an earlier release stored: read by nothing, and costly to drop
    Column("digest", Text, nullable=False),  # of the decoded parameters: equal for identical requests
    Column("outcome", Text, nullable=False),  # accepted | duplicate | updated | unmatched | unmapped | rejected
    Column("reason", Text),
    Column("event", Text),
    Column("click", Text),  # the click id as it came
    Column("click_id", BigInteger),
    Column("player_id", Text),
    Column("txn_id", Text),
    Column("status", Text),
    Column("amount", BigInteger),  # micro-units
    Column("currency", Text),
    Column("occurred_at", Instant),
    Column("time_given", Boolean, nullable=False, server_default=false()),
    Column("marks", Json),
    Column("joined", Boolean, nullable=False, server_default=false()),  # takes part in making conversions
    Column("corrects", BigInteger),  # the conversion a person put right
    Column("conversion_id", BigInteger),
    # Every index here costs each postback a page: those in order of arrival are cheap, the others few.
    index("received_at"),
    index("account_id", "txn_id"),
    index("account_id", "player_id"),
    index("outcome"),
    index("click_id", "event"),
    index("conversion_id"),
    Index(
        "ix_postbacks_packed", "received_at", sqlite_where=text("packed_body IS NOT NULL"),
        postgresql_where=text("packed_body IS NOT NULL"),
    ),
)  # fmt: skip

#: One event of one player, as it stands now; conversion_states keeps what it was.
conversions = Table(
    "conversions",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts", nullable=True),  # null: recorded by hand without one
    Column("campaign_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("country", Text),
    Column("device", Text),
    *(Column(name, Text) for name in SUBS),
    Column("click_id", BigInteger),
    Column("player_id", Text),
    Column("event", Text, nullable=False),
    Column("txn_id", Text),
    Column("status", Text, nullable=False),  # pending | approved | reversed
    Column("is_ftd", Boolean, nullable=False, server_default=false()),  # counts as the player's first deposit
    Column("amount", BigInteger),  # micro-units
    Column("currency", Text),
    Column("occurred_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("day", Day, nullable=False),  # report day it happened
    Column("visit_day", Day),  # report day of its click
    Column("marks", Json, nullable=False),  # late, no_amount, no_time, before_click, manual …
    Column("origin", Text, nullable=False, server_default="postback"),  # postback | manual
    Index("uq_conversions_account_id_event_txn_id", "account_id", "event", "txn_id", unique=True),
    index("team_id", "day"),
    index("click_id"),
    index("account_id", "player_id"),
)

#: Every state a conversion has been in: its history, and what `as_of` reads.
conversion_states = Table(
    "conversion_states",
    metadata,
    key(),
    team(only_on="sqlite"),  # a conversion is of one team
    reference("conversion_id", "conversions"),
    Column("recorded_at", Instant, nullable=False),
    Column("postback_id", BigInteger),
    Column("status", Text, nullable=False),
    Column("is_ftd", Boolean, nullable=False),
    Column("amount", BigInteger),
    Column("currency", Text),
    Column("occurred_at", Instant, nullable=False),
    Column("day", Day, nullable=False),
    index("conversion_id"),
    index("team_id", "day"),
)

#: What traffic cost, per campaign and day, as uploaded or fetched; the last row of a key stands.
spend = Table(
    "spend",
    metadata,
    key(),
    team(),
    reference("campaign_id", "campaigns"),
    Column("day", Day, nullable=False),
    Column("origin", Text, nullable=False),  # manual | csv | the source API's name
    Column("amount", BigInteger, nullable=False),  # micro-units
    Column("currency", Text, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    index("team_id", "day"),
    UniqueConstraint("campaign_id", "day", "origin", "recorded_at"),
)

#: Who was seen on which campaign in the last 24 hours, for those without a cookie: a keyed hash of campaign, address
#: and browser, the click that was theirs first, the offer they saw. On SQLite that is a file (storage.clicks.visitors).
visitors = Table(
    "visitors",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("click_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
)

#: Addresses that click often, which processes on one PostgreSQL share with each other; unused on SQLite.
click_bursts = Table(
    "click_bursts",
    metadata,
    Column("address", LargeBinary, primary_key=True),  # keyed hash
    Column("began", BigInteger, nullable=False),  # Unix time of the minute's first click
    Column("n", Integer, nullable=False),
)

#: What stays of a click when its detail has expired: where it came from and went, for revenue that arrives for months.
click_links = Table(
    "click_links",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("team_id", BigInteger, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("site_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),
    Column("source_id", BigInteger, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("country", Text),
    Column("device", Text),
    Column("source_click_id", Text),
)
