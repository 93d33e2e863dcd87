"""Why: both layers of a day side by side, each difference explained."""

from datetime import date, timedelta
from typing import Annotated

from msgspec import Meta

from bot.core.arguments import Arguments, MissingArgument, refers
from bot.core.command import command
from bot.core.context import Context
from bot.core.message import Block, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.core.tokenizer import day
from bot.render.figures import MARKS, count, measure_name, money
from storage.catalogue import names
from storage.ledger.errors import Missing, Refused
from storage.ledger.facts import Role
from storage.ledger.reports.discrepancies import Discrepancy
from storage.ledger.reports.report_rows import Layers
from storage.reports.explain import AllocatedRow, Why, why, without_others
from storage.reports.merged_report import ReportQuery
from storage.tables import campaigns, offers

TITLES = {
    "registrations": "Registrations", "first_deposits": "FTDs", "deposits": "Deposits", "qualified": "Qualified",
    "deposit_amount": "Deposit amount",
}  # fmt: skip
MOST_ALLOCATED = 10  # rows named in a message

ASK = {
    "restatement": "the platform changed what it stated of a settled day",
    "duplicate": "these look like one and the same, counted more than once here",
    "reversal": "reversed here, still counted there",
    "missing postback": "no postback came for these: check the postback set-up of the deal",
    "unknown click id": "postbacks came with a click id that is not known: see postback log outcome=unmatched",
    "untagged offer": "a segment without an offer of its own plays in: offer add with its tag",
    "time-zone edge": "the platform's day is not the report's: these fall on another day there",
    "late batch": "the platform may not have booked these yet: ask for them if they stay away",
    "amounts differ": "the counts agree, the amounts do not: compare them one by one",
    "not reported": "the platform does not report these: ask the affiliate manager for them",
}


class WhyQuery(Arguments):
    what: Annotated[str | None, refers("campaign|offer", "a campaign or an offer")] = None
    day: Annotated[str | None, Meta(description="the day (yesterday, if absent)")] = None
    campaign: Annotated[str | None, refers("campaign", "which campaign")] = None
    offer: Annotated[str | None, refers("offer", "which offer")] = None


def explanation(ctx: Context, answer: Why) -> Message:
    noun = "campaign" if answer.campaign else "offer"
    subject = ctx.label(noun, answer.campaign or answer.offer)
    rows = tuple(
        (TITLES[name], *_compared(getattr(answer.layers, name), name, answer.currency)) for name in TITLES
    )  # fmt: skip
    blocks: list[Block] = [
        Text(f"{answer.day:%d %b %Y}: {MARKS[answer.settlement]} {answer.settlement}"),
        Table(("Measure", "Postbacks", "Platform", "Merged"), rows, numeric=(1, 2, 3)),
        *(Notice("warning", _sentence(ctx, discrepancy, answer.currency)) for discrepancy in answer.discrepancies),
    ]
    blocks += [Text(_share(ctx, row)) for row in answer.allocated[:MOST_ALLOCATED]]
    if len(answer.allocated) > MOST_ALLOCATED:
        blocks.append(Text(f"and {len(answer.allocated) - MOST_ALLOCATED:,} more divided rows"))
    if not answer.discrepancies:
        blocks.append(Notice("ok", "The layers agree where both have figures."))
    return Message(f"Why: {subject}", tuple(blocks), private=True)


def _compared(layers: Layers, name: str, currency: str) -> tuple[str, str, str]:
    values = layers.postback, layers.platform, layers.merged
    first, second, third = (money(v, currency) if name == "deposit_amount" else count(v) for v in values)
    return first, second, third


def _sentence(ctx: Context, discrepancy: Discrepancy, currency: str) -> str:
    ours, theirs, _ = _compared(Layers(discrepancy.postback, discrepancy.platform), discrepancy.measure, currency)
    ids = ", ".join(discrepancy.ids[:10]) + (
        f" and {len(discrepancy.ids) - 10} more" if len(discrepancy.ids) > 10 else ""
    )
    check = f" Check: {ids}." if ids else ""
    offer = ctx.name("offer", discrepancy.offer)
    further = f" Also possible: {', '.join(discrepancy.others)}." if discrepancy.others else ""
    return (
        f"{TITLES[discrepancy.measure]} of {offer}: postbacks {ours}, platform {theirs}. "
        f"Probably {discrepancy.cause}: {ASK[discrepancy.cause]}{_restated(discrepancy, currency)}.{check}{further}"
    )


def _restated(discrepancy: Discrepancy, currency: str) -> str:
    if discrepancy.restatement is None:
        return ""
    before, after, _ = _compared(
        Layers(discrepancy.restatement.before, discrepancy.restatement.after), discrepancy.measure, currency
    )
    return f", from {before} to {after} on {discrepancy.restatement.at:%d %b %Y at %H:%M} UTC"


def _share(ctx: Context, row: AllocatedRow) -> str:
    """One allocated row in a sentence: the share of the campaign asked about, by each of the weights."""
    shares: dict[str, list[str]] = {}
    for name, measure in row.measures.items():
        amount = name not in {"visits", "registrations", "first_deposits", "deposits", "qualified"}
        stated, share = (money(v, row.currency) if amount else count(v) for v in (measure.stated, measure.share))
        by = "equally" if measure.weighed_by == "equally" else f"by {measure_name(measure.weighed_by)}"
        if measure.stated is None:  # the row is others', too
            shares.setdefault(by, []).append(f"{share} {measure_name(name)}")
            continue
        shares.setdefault(f"{by}, {measure.weight} of {measure.of}", []).append(
            f"{share} of {stated} {measure_name(name)}"
        )
    parts = "; ".join(f"{by}: {', '.join(each)}" for by, each in shares.items())
    return f"Row {row.row} of {ctx.name('offer', row.offer)} names no campaign and is split {parts}."


@command(
    "why", role=Role.VIEWER, scope=Scope.OWN, render=explanation, reads=True, reports=True, positional=("what", "day")
)
async def explain(ctx: Context, new: WhyQuery) -> Why:
    """Both layers of a campaign's or an offer's day, and why they differ."""
    campaign, offer, day_word = await _subject(ctx, new)
    when = _day(day_word, ctx.today)
    chosen = (campaign,) if campaign else ctx.actor.campaigns
    explained = await why(ctx.tx, ReportQuery(
        team_id=ctx.team_id, first=when, last=when, campaigns=chosen, offers=(offer,) if offer else None,
        timezone=ctx.deployment.timezone, currency=ctx.deployment.currency,
    ), now=ctx.now, in_helper=ctx.ports.report_in_helper)  # fmt: skip
    return explained if ctx.actor.campaigns is None else without_others(explained)


async def _subject(ctx: Context, new: WhyQuery) -> tuple[str | None, str | None, str | None]:
    """Codes of the campaign and the offer asked about, and the day's word."""
    named = new.campaign is not None or new.offer is not None
    day_word = new.day or (new.what if named else None)  # why campaign=spring yesterday
    campaign = await _code(ctx, "campaign", new.campaign)
    offer = await _code(ctx, "offer", new.offer)
    if not named:
        if new.what is None:
            raise MissingArgument("say a campaign or an offer: why campaign=… day=…", field="campaign")
        try:
            campaign = await _code(ctx, "campaign", new.what)
        except Missing as error:
            try:
                offer = await _code(ctx, "offer", new.what)
            except Missing:
                raise error from None
    return campaign, offer, day_word


async def _code(ctx: Context, field: str, word: str | None) -> str | None:
    if word is None:
        return None
    table = campaigns if field == "campaign" else offers
    code: str = (await names.find(ctx.tx, table, ctx.team_id, word, field=field)).code
    return code


def _day(word: str | None, today: date) -> date:
    if word is None:
        return today - timedelta(days=1)
    try:
        return day(word, today)
    except ValueError as error:
        raise Refused(f"day: {error}", field="day") from None
