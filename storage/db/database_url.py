"""A database's URL: as people write it, as it may be shown, and what stands in it."""

import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url


def read_url(text: str, session: str = "read-write") -> URL:
    """A database's URL as people write it, with the driver used here. Raises ArgumentError or ValueError for no URL.

    `sqlite:///x`, `postgres://…`; several hosts as libpq takes them, `postgresql://user:password@db1:5432,db2:5432/name`,
    or as `?host=db1:5432&host=db2:5432`: the first that can be written to is used (`session`, where the URL names no
    `target_session_attrs`), https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS.
    """
    address = _HOSTS.fullmatch(text)
    url = make_url(text if address is None else f"{address['before']}/{address['after']}")
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    url = url.set(drivername=drivers.get(url.drivername.partition("+")[0], url.drivername))
    if address is not None:
        hosts = [host if _PORT.search(host) else f"{host}:5432" for host in address["hosts"].split(",")]
        url = url.update_query_dict({"host": hosts})
    if "sslmode" in url.query:  # libpq's word for what asyncpg calls ssl
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    if len(hosts_of(url)) > 1 and "target_session_attrs" not in url.query:
        url = url.update_query_dict({"target_session_attrs": session})
    return url


_HOSTS = re.compile(r"(?P<before>postgres[\w+]*://(?:[^@/?]*@)?)(?P<hosts>[^@/?,]+(?:,[^@/?,]+)+)(?:/(?P<after>.*))?")
_PORT = re.compile(r":\d+$")


def shown_url(url: str | URL) -> str:
    """A database's URL as it may be read in logs and errors: without passwords, in its query either."""
    parsed = make_url(url)
    hidden = {name: "hidden" for name in parsed.query if _SECRET.search(name)}
    return (
        parsed.update_query_dict(hidden).render_as_string(hide_password=True) if hidden else parsed.render_as_string()
    )


_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)


def hosts_of(url: URL) -> tuple[str, ...]:
    """The hosts of PostgreSQL that a URL names."""
    named = url.query.get("host", ())
    return (named,) if isinstance(named, str) else (*named,) or ((url.host,) if url.host else ())


def is_pooled(url: URL) -> bool:
    """Whether PgBouncer stands before the server, as `?pgbouncer=1` in the URL says."""
    return url.query.get("pgbouncer", "0") == "1"


def postgres_url(url: URL) -> URL:
    """The URL without what is ours in it."""
    return url.difference_update_query(["pgbouncer"])


QUERY = frozenset({
    "command_timeout", "database", "direct_tls", "gsslib", "host", "krbsrvname", "max_cacheable_statement_size",
    "max_cached_statement_lifetime", "passfile", "password", "pgbouncer", "port", "prepared_statement_cache_size",
    "service", "servicefile", "ssl", "statement_cache_size", "target_session_attrs", "timeout", "user",
})  # fmt: skip
"""What may stand in the query of a PostgreSQL URL: what asyncpg's `connect` takes, and our own `pgbouncer`."""


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory, and for PostgreSQL."""
    path = make_url(url).database if url.startswith("sqlite") else None
    return Path(path) if path and path != ":memory:" else None
