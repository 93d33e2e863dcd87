"""What came from other trackers: imports, what each of their entities became here, and their daily figures."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Day, Instant, Json

#: A move from another tracker: asked for, read, looked through, carried out. One that reads an API keeps its login
#: until it has read.
imports = Table(
    "imports",
    metadata,
    key(),
    team(),
    Column("system", Text, nullable=False),  # module name in connectors.trackers
    Column("host", Text, nullable=False),  # with the system: whose ids these are
    Column("state", Text, nullable=False),  # queued | ready | running | done | failed
    Column("made_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("settings", Json, nullable=False),  # first and last day, cut-over, what raw statuses mean
    Column("credentials_secret", Text),
    Column("plan", Json),  # storage.imports.plans.Plan: the dry run
    Column("progress", Json),  # {"done": n, "of": n}
    Column("result", Json),  # storage.imports.carry_out.Result
    Column("error", Text),
    Column("room", Json),  # room id and thread that is notified
    Column("finished_at", Instant),
    index("team_id", "id"),
    index("state"),
)

#: What was read for an import, some thousand rows a part, until a later import of the same tracker is read.
import_parts = Table(
    "import_parts",
    metadata,
    reference("import_id", "imports"),
    Column("number", Integer, nullable=False),
    Column("kind", Text, nullable=False),  # setup | days | clicks
    Column("content", LargeBinary, nullable=False),  # zlib, msgpack of storage.ledger.imports.tracker
    PrimaryKeyConstraint("import_id", "number"),
)

#: Which entity here an entity of a tracker became.
imported_entities = Table(
    "imported_entities",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("system", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("kind", Text, nullable=False),  # account | source | offer | campaign
    Column("key", Text, nullable=False),  # the tracker's own id
    Column("entity_id", BigInteger, nullable=False),
    Column("made", Json, nullable=False),  # what it was made with: later differences are edits of the team
    PrimaryKeyConstraint("team_id", "system", "host", "kind", "key"),
    index("kind", "entity_id"),
)

#: What another tracker counted on a day. Never part of revenue: what it calls revenue its postbacks told it.
imported_days = Table(
    "imported_days",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    Column("campaign_id", BigInteger, nullable=False),
    Column("offer_id", BigInteger, nullable=False),  # 0: none, as in clicks
    Column("country", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("import_id", BigInteger, nullable=False),
    Column("clicks", BigInteger),
    Column("unique_clicks", BigInteger),
    Column("conversions", BigInteger),
    Column("registrations", BigInteger),
    Column("first_deposits", BigInteger),
    Column("deposits", BigInteger),
    Column("qualified", BigInteger),
    Column("reversals", BigInteger),
    Column("revenue", BigInteger),
    Column("cost", BigInteger),
    PrimaryKeyConstraint(
        "team_id", "day", "campaign_id", "offer_id", "country", "system", "host", "currency"
    ),
    index("campaign_id"),
)  # fmt: skip

#: From which day on a campaign's figures are ours; imported ones count before it.
cutovers = Table(
    "cutovers",
    metadata,
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),
    Column("team_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    index("team_id"),
)

#: Words that old links of a campaign are known by on the team's domains.
campaign_aliases = Table(
    "campaign_aliases",
    metadata,
    key(),
    team(),
    reference("campaign_id", "campaigns"),
    Column("alias", Text, nullable=False),
    UniqueConstraint("team_id", "alias"),
)

#: Click ids of other trackers, in lower case, and the id in click_links that stands for each.
imported_clicks = Table(
    "imported_clicks",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("click", Text, nullable=False),
    Column("click_id", BigInteger, nullable=False, unique=True),
    PrimaryKeyConstraint("team_id", "click"),
)
