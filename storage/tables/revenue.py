"""What the platforms said, each time they said it, and the merged rows made of it all."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
)

from storage.tables.base import index, key, metadata, reference, team
from storage.tables.types import Day, Instant, Json

MEASURES = (
    "visits",
    "registrations",
    "first_deposits",
    "deposits",
    "qualified",
    "deposit_amount",
    "ngr",
    "commission_cpa",
    "commission_revshare",
    "commission_other",
)
"""Figures of a revenue row; null where the platform does not report the measure. Amounts are micro-units."""

#: A sync of one account over one window: asked for, running, done.
sync_runs = Table(
    "sync_runs",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    Column("requested_at", Instant, nullable=False),
    Column("from_day", Day),  # null: the account's rolling window
    Column("to_day", Day),
    Column("reached_day", Day),  # how far a running one has come, the latest days first
    Column("again", BigInteger),  # a kept report to read again instead of fetching
    Column("state", Text, nullable=False),  # queued | running | done | failed | suspect
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("rows", Integer, nullable=False, server_default="0"),
    Column("revisions", Integer, nullable=False, server_default="0"),
    Column("restated", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    index("account_id", "id"),
    index("state"),
)

#: A platform's answer as it came: the proof behind every figure.
revenue_reports = Table(
    "revenue_reports",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    reference("run_id", "sync_runs", nullable=True),
    Column("fetched_at", Instant, nullable=False),
    Column("from_day", Day, nullable=False),
    Column("to_day", Day, nullable=False),
    # merged | unreadable (whole) | broken (a part) | suspect | confirmed | discarded | superseded
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("raw", LargeBinary, nullable=False),  # zlib
    Column("parsed", LargeBinary),  # rows of a suspect one, until it is decided on
    Column("digest", Text),  # of the answer and how it was read, once all of it is recorded
    Column("rows", Integer),
    index("account_id", "id"),
)

#: The figures of one (account, day, tag, click or sub id, currency) as they stand now.
revenue = Table(
    "revenue",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    Column("day", Day, nullable=False),  # the platform's own label
    Column("tag", Text, nullable=False),
    Column("tag_key", Text, nullable=False),  # lower case
    Column("tag_name", Text, nullable=False, server_default=""),  # what people call the tag; an offer may claim either
    Column("sub", Text, nullable=False, server_default=""),  # what the platform returned as our click or campaign id
    Column("part", Text, nullable=False, server_default=""),  # further grouping of the platform's (brand, player …)
    Column("currency", Text, nullable=False),
    *(Column(name, BigInteger) for name in MEASURES),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("recorded_at", Instant, nullable=False),
    Column("report_id", BigInteger, nullable=False),
    UniqueConstraint("account_id", "day", "tag_key", "sub", "part", "currency"),
)

#: Rows of a day, and within it those of a campaign's code: rows written together lie together in it.
Index("ix_revenue_team_id_day_sub", revenue.c.team_id, revenue.c.day, func.lower(revenue.c.sub))

#: Every figure ever fetched of a row that was restated, the first included. A row without a revision says in `revenue`
#: what it always said, known since its `recorded_at`.
revenue_revisions = Table(
    "revenue_revisions",
    metadata,
    key(),
    team(),
    reference("revenue_id", "revenue"),
    Column("day", Day, nullable=False),
    *(Column(name, BigInteger) for name in MEASURES),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("recorded_at", Instant, nullable=False),
    Column("report_id", BigInteger, nullable=False),
    index("revenue_id"),
    index("team_id", "day"),
)

#: Measures that an account's platform reports, and since when that is known: without a row a settled day has 0 of them.
account_measures = Table(
    "account_measures",
    metadata,
    Column("account_id", BigInteger, nullable=False),
    Column("measure", Text, nullable=False),
    Column("team_id", BigInteger, nullable=False),
    Column("since", Instant, nullable=False),
    PrimaryKeyConstraint("account_id", "measure"),
    index("team_id"),
)

#: Days an account has been synced past, in its own zone, and since when.
settled_days = Table(
    "settled_days",
    metadata,
    Column("account_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    Column("team_id", BigInteger, nullable=False),
    Column("settled_at", Instant, nullable=False),
    PrimaryKeyConstraint("account_id", "day"),
)

#: Days that moved; appended by whoever moves them, read first and deleted after by storage.reports.settle.
touched = Table(
    "touched",
    metadata,
    key(),
    Column("team_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    sqlite_autoincrement=True,  # an id is never used again: a settler deletes the marks it has read, by their ids
)

#: The merged cells of a day, event clock, recomputed whole whenever the day is touched.
merged = Table(
    "merged",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("day", Day, nullable=False),
    Column("cells", LargeBinary, nullable=False),  # JSON list of storage.ledger.reports.cells.Cell, nothing converted
    Column("version", BigInteger),  # says whether `cells` are the ones known: a hash of them
    PrimaryKeyConstraint("team_id", "day"),
    index("team_id", "day", "version"),  # versions are read without the cells beside them
)

#: Report rows of a day as they were shown, for the usual reports: kept so that the first report after a start is fast.
#: What they were made from is in the page, so that one that no longer holds is recognised.
report_pages = Table(
    "report_pages",
    metadata,
    Column("team_id", BigInteger, nullable=False),
    Column("form", Text, nullable=False),  # dimensions and currency: day,offer:EUR
    Column("day", Day, nullable=False),
    Column("version", BigInteger, nullable=False),  # that of the cells in `merged`
    Column("page", LargeBinary, nullable=False),  # zlib, msgpack of storage.ledger.reports.report_pages.Page
    PrimaryKeyConstraint("team_id", "form", "day"),
)

#: Commission a platform has paid out to us.
payments = Table(
    "payments",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    Column("day", Day, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

#: What a team writes on its invoices.
billing = Table(
    "billing",
    metadata,
    Column("team_id", BigInteger, primary_key=True, autoincrement=False),
    Column("details", Json, nullable=False),  # storage.reports.invoices.Details
)

#: What was billed to a platform: numbers follow each other without a gap, and a cancelled one keeps its own.
invoices = Table(
    "invoices",
    metadata,
    key(),
    team(),
    reference("account_id", "accounts"),
    Column("number", Integer, nullable=False),
    Column("code", Text, nullable=False),  # the number as it is written: 2026-0007
    Column("month", Text, nullable=False),  # whose commission: 2026-10
    Column("issued", Day, nullable=False),
    Column("due", Day, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("sender", Json, nullable=False),  # the team's details as they were
    Column("cancelled", Boolean, nullable=False, server_default=false()),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("team_id", "number"),
    index("account_id", "due"),
)
