"""What a team has set up: accounts, casinos, offers, sites, domains, sources, campaigns."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from storage.tables.base import index, key, metadata, named, reference, sorting, team
from storage.tables.types import Day, Instant, Json

accounts = named(
    "accounts",
    *sorting(),
    Column("platform", Text, nullable=False),  # module name in connectors.platforms
    Column("base_url", Text),
    Column("report_url_secret", Text),  # a pasted report URL may hold a token: encrypted
    Column("credentials_secret", Text),  # JSON of the platform's own fields, encrypted
    Column("timezone", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("options", Json, nullable=False),  # tag_from, click_id_from, postback mappings …
    Column("postback_key", Text, nullable=False, unique=True),
    Column("postback_version", BigInteger, nullable=False, server_default="0"),  # storage.postbacks.account_versions
    Column("sync_hour", Integer, nullable=False, server_default="6"),  # hour its figures are expected, own zone
    Column("paused_at", Instant),
    Column("paused_why", Text),
    Column("next_sync_at", Instant),
    Column("last_attempt_at", Instant),
    Column("last_success_at", Instant),
    Column("error", Text),
    Column("sync_warnings", Json),  # what the last sync or upload noticed in its report
    Column("report_shape", Json),  # what its last accepted report had: a totals line, header lines, a whole last line
    Column("postbacks_since", Day),  # first report day with a conversion: before it, postbacks measured nothing
)

casinos = named(
    "casinos",
    *sorting(),
    Column("status", Text, nullable=False),  # draft | reviewed
    Column("bonus", Text),
    Column("free_spins", Text),
    Column("wagering", Text),
    Column("payment_methods", Json, nullable=False),
    Column("markets", Json, nullable=False),
    Column("licence", Text),
    Column("terms_url", Text),
    Column("logo", Text),
)

offers = named(
    "offers",
    *sorting(),
    reference("casino_id", "casinos"),
    reference("account_id", "accounts"),
    Column("url", Text, nullable=False),
    Column("tag", Text),
    Column("tag_key", Text),  # lower case; what revenue rows are matched by
    Column("markets", Json, nullable=False),
    Column("deal", Text),
    Column("cap", Integer),
    Column("cap_event", Text),  # click | registration | first_deposit
    Column("cap_period", Text),  # day | week | month
    reference("alternative_id", "offers", nullable=True),
    Column("status", Text, nullable=False),  # active | paused
    Column("has_postbacks", Boolean, nullable=False, server_default=true()),
    Column("postbacks_since", Day),  # first report day with a conversion of the offer's own
    index("account_id", "tag_key"),
)

#: Whether an offer's link leads anywhere; looked at only while an alert asks for it.
offer_checks = Table(
    "offer_checks",
    metadata,
    Column("offer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("checked_at", Instant, nullable=False),
    Column("fault", Text),  # null: it does
)

sites = named(
    "sites",
    *sorting(),
    Column("market", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("theme", Text, nullable=False),
    Column("texts", Json, nullable=False),
    Column("status", Text, nullable=False),  # draft | published | paused
    Column("page", Text),  # address of the page, where it is hosted elsewhere; null: we serve it
    Column("distribution", Json),  # storage.catalogue.variant_distribution; null: its variants' weights are set by hand
)

site_offers = Table(
    "site_offers",
    metadata,
    reference("site_id", "sites"),
    reference("offer_id", "offers"),
    Column("position", Integer, nullable=False),
    UniqueConstraint("site_id", "offer_id"),
)

domains = named(
    "domains",
    *sorting(),
    reference("site_id", "sites", nullable=True),
    Column("status", Text, nullable=False),  # added | bought | dns | verified | tls | live | failed
    Column("provider", Text),
    Column("state", Json, nullable=False),
    Column("registered_until", Day),
    Column("next_step_at", Instant),
)

sources = named(
    "sources",
    *sorting(),
    Column("preset", Text, nullable=False),
    Column("parameters", Json, nullable=False),  # our name -> the parameter name on our link
    Column("postbacks", Json, nullable=False),  # event -> {"url", "method", "body", "enabled"}
    Column("options", Json, nullable=False),
    Column("credentials_secret", Text),
)

campaigns = named(
    "campaigns",
    *sorting(),
    reference("site_id", "sites", nullable=True),
    reference("source_id", "sources", nullable=True),
    Column("fallback_url", Text),
    Column("cost_model", Text, nullable=False),  # storage.ledger.cost_models.MODELS
    Column("cost", BigInteger),  # the model's price in micro-units; of a rev share the percentage in millionths
    Column("currency", Text),
    Column("country_costs", Json),  # prices that differ by country: {"DE": micro-units}
    Column("cost_event", Text),  # of a CPA: registration | first_deposit | qualified
    Column("budget_day", BigInteger),  # micro-units; clicks beyond go to the fallback
    Column("budget_total", BigInteger),
    Column("pacing", Text),  # even | usual: how the day's budget is spread over its hours
    Column("usual_hours", Json),  # clicks by hour of the day, lately: what pacing goes by
    Column("unique_period", Integer),  # minutes that a visitor counts as the same one; null: a day
    Column("unique_scope", Text),  # what a visitor is new to: site | team; null: the campaign
    Column("smart_rotation", Boolean, nullable=False, server_default=false()),  # offers not seen yet first
    Column("rules", Json, nullable=False),
    Column("binding", Boolean, nullable=False, server_default=true()),
    Column("direct", Boolean, nullable=False, server_default=false()),
    Column("status", Text, nullable=False),  # active | paused
    Column("distribute", Text, nullable=False, server_default="off"),  # off | auto: who sets the offers' weights
    Column("distribute_by", Text),  # country | device
    Column("floor", Integer),  # of an offer; this and the next two in hundredths of a per cent
    Column("most_change", Integer),  # of an offer's weight, an hour
    Column("holdout", Integer),  # visitors sent by the weights set by hand
    Column("distributed_since", Instant),  # when the running comparison with the holdout began
    Column("compared", Json),  # holdout and weights set by hand that are compared since then
    Column("distributed", Json),  # current weights: segment (empty: all others) -> offer id -> weight
)

#: Weights that a campaign's offers had from a moment on, what they were made from, or why they stayed as they were.
distribution_steps = Table(
    "distribution_steps",
    metadata,
    key(),
    team(),
    reference("campaign_id", "campaigns"),
    Column("at", Instant, nullable=False),
    Column("segment", Text, nullable=False),  # a country or device; empty: all others
    Column("begins", Boolean, nullable=False),  # set by a person's change: no limit on change reaches back further
    Column("weights", Json, nullable=False),  # offer id -> weight, in hundredths of a per cent
    Column("evidence", Json, nullable=False),  # storage.catalogue.distribution.Evidence by offer id
    Column("note", Text),  # why nothing was changed
    index("campaign_id", "segment", "at"),
)

#: What a campaign's traffic costs from a day on, by models whose spend is worked out when a day is merged.
campaign_costs = Table(
    "campaign_costs",
    metadata,
    reference("campaign_id", "campaigns"),
    Column("since", Day, nullable=False),
    Column("model", Text, nullable=False),
    Column("cost", BigInteger),
    Column("currency", Text, nullable=False),
    Column("event", Text),
    Column("country_costs", Json),
    PrimaryKeyConstraint("campaign_id", "since"),
)

#: A list of placements of a source or of a campaign, by the sub id that names them.
placement_lists = Table(
    "placement_lists",
    metadata,
    key(),
    team(),
    reference("source_id", "sources", nullable=True),
    reference("campaign_id", "campaigns", nullable=True),
    Column("sub", Text, nullable=False),  # sub1 … sub10
    Column("kind", Text, nullable=False),  # block | allow
    Column("version", Integer, nullable=False, server_default="0"),  # counted up by every change of its entries
    index("team_id"),
)

placements = Table(
    "placements",
    metadata,
    key(),
    reference("list_id", "placement_lists"),
    Column("placement", Text, nullable=False),
    Column("note", Text),
    Column("added_by", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    UniqueConstraint("list_id", "placement"),
)

campaign_offers = Table(
    "campaign_offers",
    metadata,
    reference("campaign_id", "campaigns"),
    reference("offer_id", "offers"),
    Column("position", Integer, nullable=False),
    Column("weight", Integer, nullable=False, server_default="1"),
    UniqueConstraint("campaign_id", "offer_id"),
)

#: When an offer was in a campaign ("active with the offer that day"); open rows have no end.
campaign_offer_spans = Table(
    "campaign_offer_spans",
    metadata,
    key(),
    team(),
    reference("campaign_id", "campaigns"),
    reference("offer_id", "offers"),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    index("offer_id"),
)

#: What a team puts its campaigns, offers, sites … into, for lists and reports.
groups = named("groups")

#: A report that the team looks at again: the query of its address.
views = named("views", Column("query", Text, nullable=False))

#: Reporting-currency value of one unit of a currency on a day; `origin` says whose rate it is.
rates = Table(
    "rates",
    metadata,
    Column("team_id", BigInteger, nullable=False, server_default="0"),  # 0: for every team (ECB)
    Column("currency", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("day", Day, nullable=False),
    Column("rate", Text, nullable=False),  # decimal text: exact
    Column("origin", Text, nullable=False),  # team | ecb | frankfurter
    UniqueConstraint("team_id", "currency", "base", "day"),
)
