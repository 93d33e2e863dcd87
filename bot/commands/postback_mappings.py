"""How an account's postbacks are read: words, parameters, statuses, who may send them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bot.core.arguments import Arguments, choices, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Fields, Message, Notice
from bot.forms.postback_context import processor
from storage.catalogue import names
from storage.ledger.errors import Refused
from storage.ledger.facts import Event, Outcome, Role
from storage.postbacks import mappings
from storage.postbacks.mappings import PostbackMapping
from storage.postbacks.replay import replay
from storage.postbacks.requests import RequestFilter
from storage.tables import accounts

Account = Annotated[str, refers("account", "which platform account")]


class NewMapping(Arguments, kw_only=True):
    account: Account
    event: Annotated[str | None, Meta(description="the platform's event word; say to which of ours with as=")] = None
    parameter: Annotated[str | None, Meta(description="the platform's parameter name; say to which with as=")] = None
    status: Annotated[str | None, Meta(description="the platform's status word; say to which with as=")] = None
    as_: Annotated[str | None, Meta(description="our word for it; - takes the mapping away")] = None
    events: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"purchase": "deposit"}')] = {}
    parameters: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"s1": "click_id"}')] = {}
    statuses: Annotated[dict[str, str], Meta(description='many at once, as JSON: {"2": "pending"}')] = {}
    repeats: Annotated[dict[str, str], Meta(description='per event ignore, update or count: {"deposit": "count"}')] = {}
    default_event: Annotated[str | None, choices("event of requests that name none", *(e.value for e in Event))] = None
    has_ftd_event: Annotated[bool | None, Meta(description="no: the first deposit counts as the FTD")] = None
    allow: Annotated[list[str] | None, Meta(description="only from these addresses or networks; any for all")] = None
    hmac_secret: Annotated[str | None, Meta(description="shared secret of signed postbacks; - for none",
                                            extra={"secret": True})] = None  # fmt: skip
    hmac_parameter: Annotated[str | None, Meta(description="parameter or header of the signature")] = None


class Mapped(PostbackMapping, frozen=True, kw_only=True):
    """The account's mapping now, and what became of the requests that had waited for it."""

    account: str
    reclassified: dict[str, int] = {}


def mapping_card(_ctx: Context, mapping: Mapped) -> Message:
    words = {**mapping.parameters, **mapping.events, **mapping.statuses}
    fields = list(words.items())
    fields += [(f"repeated {event}", what) for event, what in mapping.repeats.items()]
    if mapping.default_event:
        fields.append(("without an event", mapping.default_event))
    if mapping.allow:
        fields.append(("only from", ", ".join(mapping.allow)))
    notes = tuple(Notice("ok", f"{n:,} waiting postbacks are now {what}") for what, n in mapping.reclassified.items())
    return Message(f"Postback mapping of {mapping.account}", (Fields(tuple(fields)), *notes))


@command("postback map", role=Role.OWNER, render=mapping_card, positional=("account", "event", "as"))
async def map_postbacks(ctx: Context, new: NewMapping) -> Mapped:
    """Say what a platform's words mean; requests that waited for it are read again at once."""
    row = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    before = mappings.mapping_of(row)
    values = _changes(ctx, new)
    if not values:
        return Mapped(account=row.code, **msgspec.structs.asdict(before))
    await mappings.change(ctx.tx, row, values)
    fresh = await processor(ctx)
    account = fresh.book.by_id[row.id]
    if account.fault:
        raise Refused(account.fault, field="allow" if new.allow else "events")
    counts: dict[str, int] = {}
    for outcome in (Outcome.UNMAPPED, Outcome.UNMATCHED, Outcome.REJECTED):
        waiting = RequestFilter(outcome=outcome.value, account_id=row.id)
        for result, n in (await replay(ctx.tx, ctx.team_id, waiting, fresh)).items():
            if result not in {outcome.value, "unchanged"}:
                counts[result] = counts.get(result, 0) + n
    now = mappings.mapping_of(await names.by_id(ctx.tx, accounts, row.id))
    ctx.notes |= {"entity": "account", "entity_id": row.id, "before": before, "after": now}
    return Mapped(account=row.code, reclassified=counts, **msgspec.structs.asdict(now))


def _changes(ctx: Context, new: NewMapping) -> dict[str, Any]:
    words: dict[str, dict[str, str]] = {
        "events": dict(new.events), "parameters": dict(new.parameters), "statuses": dict(new.statuses),
        "repeats": dict(new.repeats),
    }  # fmt: skip
    for kind, word in (("events", new.event), ("parameters", new.parameter), ("statuses", new.status)):
        if word is not None:
            if new.as_ is None:
                raise Refused(f"as: say what {word!r} means, e.g. as=deposit", field="as")
            words[kind][word] = new.as_
    values: dict[str, Any] = {kind: mappings.checked(kind, entries) for kind, entries in words.items() if entries}
    if new.default_event is not None:
        values["default_event"] = mappings.checked("events", {"-": new.default_event})["-"]
        values["default_event"] = None if values["default_event"] == "-" else values["default_event"]
    if new.has_ftd_event is not None:
        values["has_ftd_event"] = new.has_ftd_event
    if new.allow is not None:
        values["allow"] = [] if new.allow == ["any"] else new.allow
    if new.hmac_secret is not None:
        values["hmac_sealed"] = None if new.hmac_secret == "-" else ctx.box.seal(new.hmac_secret)  # noqa: S105
    if new.hmac_parameter is not None:
        values["hmac_parameter"] = new.hmac_parameter
    return values
