"""What sites have been, and what is tried on them."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from storage.tables.base import index, key, metadata, named, reference, team
from storage.tables.types import Instant, Json

#: Every state of a site that was ever published, so that it can be gone back to.
site_versions = Table(
    "site_versions",
    metadata,
    key(),
    team(),
    reference("site_id", "sites"),
    Column("version", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("content", Json, nullable=False),  # market, locale, theme, texts, offers (ids in order)
    UniqueConstraint("site_id", "version"),
)

#: Another form of a site shown to a share of its visitors; what is null or absent is as on the site itself.
site_variants = Table(
    "site_variants",
    metadata,
    key(),
    team(),
    reference("site_id", "sites"),
    Column("code", Text, nullable=False),  # b, c … — `a` is the site itself
    Column("theme", Text),
    Column("texts", Json, nullable=False),
    Column("offers", Json),  # ids in order
    Column("weight", Integer, nullable=False, server_default="1"),
    Column("since", Instant, nullable=False),
    Column("ended_at", Instant),
    UniqueConstraint("site_id", "code"),
)

#: One page view, as the first-party beacon reports it. No cookie, no address: `visitor` is a hash keyed for a day.
site_views = Table(
    "site_views",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    team(),
    reference("site_id", "sites"),
    Column("variant", Text, nullable=False, server_default="a"),
    Column("day", Integer, nullable=False),  # local report day: days since 1970
    Column("at", Instant, nullable=False),
    Column("visitor", Text, nullable=False),
    Column("click_id", BigInteger, nullable=False, server_default="0"),
    Column("campaign_id", BigInteger, nullable=False, server_default="0"),
    Column("country", Text, nullable=False, server_default=""),
    Column("device", Text, nullable=False, server_default=""),
    Column("os", Text, nullable=False, server_default=""),
    Column("browser", Text, nullable=False, server_default=""),
    Column("referrer", Text, nullable=False, server_default=""),  # host only
    Column("milliseconds", Integer, nullable=False, server_default="0"),
    Column("scroll", Integer, nullable=False, server_default="0"),  # percent of the page
    Column("seen", Json, nullable=False),  # offer codes that came into view
    Column("clicked", Json, nullable=False),  # offer codes clicked, in order
    Column("events", Json, nullable=False, server_default="[]"),  # names that the page gave to what happened on it
    index("site_id", "day"),
)

#: The files of a team's own page, which is shown in the place of a theme.
site_files = Table(
    "site_files",
    metadata,
    reference("site_id", "sites"),
    Column("path", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("site_id", "path"),
)

#: Logos and pictures sent in chat, encoded again as WebP; named by their content.
images = Table(
    "images",
    metadata,
    key(),
    team(),
    Column("hash", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("alt", Text, nullable=False, server_default=""),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("team_id", "hash"),
    index("hash"),
)

#: Our logins at registrars and DNS hosts.
registrars = named(
    "registrars",
    Column("kind", Text, nullable=False),  # module name in connectors.domains
    Column("credentials_secret", Text, nullable=False),  # JSON of the kind's own fields, encrypted
    Column("options", Json, nullable=False),
)

#: The price a person was shown before buying a domain; what is paid must be that price.
domain_quotes = Table(
    "domain_quotes",
    metadata,
    key(),
    team(),
    Column("actor", Text, nullable=False),
    Column("name", Text, nullable=False),
    reference("registrar_id", "registrars"),
    Column("price", BigInteger, nullable=False),  # micro-units
    Column("renewal", BigInteger),
    Column("currency", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
