"""Domains: host names of sites, on their way from an order to live, every step of it remembered."""

import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue.entities import codes
from storage.catalogue.groups import Sorted, sorting_of
from storage.db.json_column import change_keys
from storage.ledger.addresses import is_host
from storage.ledger.errors import Refused
from storage.ledger.hostnames import is_address, is_bare
from storage.tables import domains, sites

#: In this order; `failed` can come from any of them, and goes on where it stopped.
ORDERED, ADDED, BOUGHT, DNS, VERIFIED, LIVE, FAILED = (
    "ordered", "added", "bought", "dns", "verified", "live", "failed",
)  # fmt: skip
STEPS = ("registration", "zone", "records", "verification", "tls")
CLAIM = timedelta(minutes=2)

StepState = Literal["todo", "waiting", "done", "failed", "skipped"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Where a step stands; `fix` says what to do when it waits for a person."""

    name: str
    state: StepState = "todo"
    detail: str = ""
    fix: str = ""
    at: datetime | None = None


class DnsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that must stand in the domain's zone; `name` is the full host name."""

    type: str
    name: str
    value: str


class Domain(Sorted, frozen=True, kw_only=True):
    """A domain as every face shows it. `shown_as` has the letters people read, `name` those DNS uses."""

    id: int
    name: str
    code: str
    shown_as: str
    site: str | None
    status: str
    provider: str | None
    url: str
    records: list[DnsRecord]
    steps: list[Step]
    health: dict[str, Any]
    registered_until: date | None
    next_step_at: datetime | None
    warnings: list[str]


def entry(row: Row[Any], site_codes: dict[int, str]) -> Domain:
    stored = msgspec.convert(row.state.get("steps", []), list[Step])
    by_name = {step.name: step for step in stored}
    return Domain(
        id=row.id, name=row.name, code=row.code, shown_as=readable(row.name), site=site_codes.get(row.site_id or 0),
        status=row.status, provider=row.provider, url=f"https://{row.name}/", health=row.state.get("health", {}),
        records=msgspec.convert(row.state.get("records", []), list[DnsRecord]),
        steps=[by_name.get(name, Step(name=name)) for name in STEPS], registered_until=row.registered_until,
        next_step_at=row.next_step_at, warnings=mixed_script_warnings(row.name),
        **sorting_of(row),
    )  # fmt: skip


async def shown(tx: AsyncConnection, team_id: int, rows: Sequence[Row[Any]]) -> list[Domain]:
    """Domains as faces show them."""
    site_codes = await codes(tx, sites, team_id)
    return [entry(row, site_codes) for row in rows]


async def refuse_taken(tx: AsyncConnection, name: str) -> None:
    """A host name leads to one place: refused if any team has it already."""
    existing = (await tx.execute(select(domains.c.id).where(domains.c.name == name))).first()
    if existing is not None:
        raise Refused(f"name: {name} is here already: domain list, or domain attach {name} site=…", field="name")


async def is_due(tx: AsyncConnection, now: datetime) -> bool:
    """Whether the next step of any domain is due: a look that locks nothing."""
    return (await tx.execute(select(domains.c.id).where(domains.c.next_step_at <= now).limit(1))).first() is not None


async def due(tx: AsyncConnection, now: datetime, *, limit: int = 20) -> list[Row[Any]]:
    """Domains whose next step is due, claimed for two minutes so that no other process takes them too."""
    query = select(domains).where(domains.c.next_step_at <= now).order_by(domains.c.next_step_at).limit(limit)
    claimed = []
    for row in (await tx.execute(query)).all():
        mine = domains.c.id == row.id, domains.c.next_step_at == row.next_step_at
        taken = await tx.execute(update(domains).where(*mine).values(next_step_at=now + CLAIM).returning(domains))
        claimed += taken.all()
    return claimed


async def change(tx: AsyncConnection, row: Row[Any], values: dict[str, Any]) -> None:
    """Store what differs from `row`, which may have been read before a step of the network.

    Of the state only the keys that `values` change are written, and a next step that was asked for meanwhile stays.
    """
    current = select(domains.c.next_step_at).where(domains.c.id == row.id).with_for_update()
    next_step_at = (await tx.execute(current)).scalar_one_or_none()
    columns = {name: value for name, value in values.items() if name != "state"}
    state = values.get("state", row.state)
    if next_step_at != row.next_step_at:
        columns.pop("next_step_at", None)
        state = {**state, "tries": row.state.get("tries", 0)}
    if state != row.state:
        await change_keys(tx, domains.c.state, row.id, before=row.state, after=state)
    if columns:
        await tx.execute(update(domains).where(domains.c.id == row.id).values(**columns))


def with_step(state: dict[str, Any], step: Step) -> dict[str, Any]:
    """The state with this step in place of its older self."""
    others = [other for other in state.get("steps", []) if other["name"] != step.name]
    return {**state, "steps": [*others, msgspec.to_builtins(step)]}


def first_steps(status: str, provider: str | None) -> list[Step]:
    """What need not be done of a new domain: one's own is registered, and by hand the records are a person's work."""
    own = Step(name="registration", state="skipped", detail="your own")
    if status == ORDERED:
        return []
    if provider:
        return [own]
    fix = "Set the records shown above where its DNS is."
    return [
        own, Step(name="zone", state="skipped", detail="your own"),
        Step(name="records", state="waiting", detail="by hand", fix=fix),
    ]  # fmt: skip


def read_name(text: str) -> str:
    """A host name as DNS has it, from what people paste. Raises Refused at `name`."""
    word = text.strip().lower()
    try:
        word = urlsplit(word).hostname or "" if "://" in word else word.partition("/")[0]
    except ValueError:  # a bracket that is never closed
        word = ""
    word = word.removesuffix(".")
    if "*" in word:
        raise Refused(f"name: {text!r} is a wildcard: add each host name by itself", field="name")
    try:
        name = word.encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    labels = name.split(".")
    fine = all(
        label and label[0] != "-" and label[-1] != "-" and label.replace("-", "").isalnum() and label.isascii()
        for label in labels
    )
    if not fine or len(labels) < 2 or not is_host(name) or labels[-1].isdecimal() or is_address(name):
        raise Refused(f"name: {text!r} is not a domain name: write brand.com", field="name")
    return name


def readable(name: str) -> str:
    """The name with the letters people read instead of xn--…"""
    try:
        return name.encode().decode("idna")
    except UnicodeError:
        return name


def mixed_script_warnings(name: str) -> list[str]:
    """A warning where a label mixes scripts, as names made to be mistaken for others do."""
    warnings = []
    for label in readable(name).split("."):
        scripts = {unicodedata.name(letter, "?").partition(" ")[0] for letter in label if letter.isalpha()}
        if len(scripts) > 1:
            warnings.append(f"{label!r} mixes {' and '.join(sorted(scripts))} letters: browsers show it as {name}")
    return warnings


def required_records(name: str, public_url: str, addresses: Sequence[str] = ()) -> list[DnsRecord]:
    """The records that lead a name to the hub; `addresses` are the hub's own, if they are known by now."""
    host = urlsplit(public_url).hostname or ""
    if is_address(host):
        addresses = [host]
    elif not is_bare(name):
        return [DnsRecord(type="CNAME", name=name, value=host)]
    if not addresses:
        return [DnsRecord(type="ALIAS", name=name, value=host)]
    return [DnsRecord(type="AAAA" if ":" in address else "A", name=name, value=address) for address in addresses]
