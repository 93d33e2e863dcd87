"""Owed and paid: commission by account and month against what the platforms have paid."""

from datetime import date
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select

from bot.core.arguments import Arguments, choices, currency_code, refers, to_micros
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Listing, Page
from bot.core.message import Block, Message, Table, Text
from bot.core.permissions import Scope
from bot.forms.first_steps import begin
from bot.render.figures import money
from storage.catalogue import names
from storage.catalogue.entities import page
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.revenue.owed import Rule
from storage.reports import payments
from storage.reports.payments import Owed, Terms
from storage.tables import accounts
from storage.tables import payments as table

RULES = {
    "none": "a negative month is forgotten",
    "account": "a negative balance goes into the next month",
    "brand": "a negative balance goes into the next month, brand by brand",
    "player": "only players further down than the threshold carry their loss on",
}


class NewPayment(Arguments):
    account: Annotated[str, refers("account", "who paid")]
    amount: Annotated[Decimal, Meta(description="how much; negative takes a wrong one back")]
    day: Annotated[date | None, Meta(description="when it arrived (today, if absent)")] = None
    currency: Annotated[str | None, Meta(description="the account's own, if absent")] = None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment received; the amount is in micro-units."""

    id: int
    account: str
    day: date
    amount: int
    currency: str


class PaymentsQuery(Arguments):
    account: Annotated[str | None, refers("account", "only this account")] = None


class PaymentsPage(Listing):
    account: Annotated[str | None, refers("account", "only this account")] = None


class NewTerms(Arguments):
    account: Annotated[str, refers("account", "whose deal")]
    rule: Annotated[Rule, choices("what becomes of a negative balance", *RULES)]
    threshold: Annotated[Decimal | None, Meta(description="for `player`: losses up to this are not carried")] = None
    currency: Annotated[str | None, Meta(description="of the threshold: the account's own")] = None


class TermsSet(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    rule: str
    threshold: int


class OwedList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Owed]
    next: str | None = None


def payment_card(ctx: Context, made: Payment) -> Message:
    account = ctx.name("account", made.account)
    return Message(f"{account} paid {money(made.amount, made.currency)} on {made.day:%d %b %Y}")


def payment_table(ctx: Context, made: Page[Payment]) -> Message:
    rows = tuple(
        (f"{payment.day}", ctx.name("account", payment.account), money(payment.amount, payment.currency))
        for payment in made.items
    )
    if not rows:
        first = begin(ctx, "Record a payment", "payment add")
        return Message("No payment recorded yet: payment add <account> <amount>", first, private=True)
    return Message(
        "Payments, the latest first", (Table(("Day", "Account", "Amount"), rows, numeric=(2,)),), private=True
    )


def terms_card(ctx: Context, made: TermsSet) -> Message:
    return Message(f"{ctx.name('account', made.account)}: {RULES[made.rule]}")


def owed_message(ctx: Context, made: OwedList) -> Message:
    if not made.items:
        return Message("No platform has stated commission yet", private=True)
    blocks: list[Block] = []
    for owed in made.items:
        blocks += [Text(_owed_line(ctx, owed), strong=True), _months(owed)]
    return Message("Owed and paid", tuple(blocks), private=True)


def _owed_line(ctx: Context, owed: Owed) -> str:
    settled = f"settled to {owed.settled_to:%d %b %Y}" if owed.settled_to else "nothing settled yet"
    outstanding = money(owed.outstanding, owed.currency)
    return f"{ctx.name('account', owed.account)}: {outstanding} outstanding, {settled}; {RULES[owed.terms.rule]}"


def _months(owed: Owed) -> Table:
    def written(micros: int) -> str:
        return money(micros, owed.currency)

    rows = tuple(
        (m.month, written(m.commission), written(m.carried_in), written(m.payable), written(m.paid))
        for m in owed.months[-12:]
    )
    return Table(("Month", "Commission", "Carried in", "Payable", "Paid"), rows, numeric=(1, 2, 3, 4))


@command("payment add", role=Role.BUYER, scope=Scope.TEAM, render=payment_card, positional=("account", "amount"))
async def add_payment(ctx: Context, new: NewPayment) -> Payment:
    """Record what a platform has paid."""
    account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    day, currency = new.day or ctx.today, currency_code(new.currency, account.currency)
    amount = to_micros(new.amount)
    made = await payments.pay(
        ctx.tx, team_id=ctx.team_id, account_id=account.id, day=day, amount=amount, currency=currency, now=ctx.now
    )
    payment = Payment(id=made, account=account.code, day=day, amount=amount, currency=currency)
    ctx.notes |= {"entity": f"payment {made}", "after": payment}
    return payment


@command("payment list", role=Role.VIEWER, scope=Scope.TEAM, render=payment_table, reads=True, positional=("account",))
async def list_payments(ctx: Context, new: PaymentsPage) -> Page[Payment]:
    """Payments received, the latest first."""
    account_id = None
    if new.account is not None:
        account_id = (await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")).id
    query = payments.listed(ctx.team_id, account_id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after, latest=True)
    items = [
        Payment(id=row.id, account=row.account, day=row.day, amount=row.amount, currency=row.currency) for row in rows
    ]
    return Page(items, following)


@command("payment rule", role=Role.BUYER, scope=Scope.TEAM, render=terms_card, positional=("account", "rule"))
async def set_terms(ctx: Context, new: NewTerms) -> TermsSet:
    """Set what a deal does with negative balances."""
    account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    if (code := currency_code(new.currency, account.currency)) != account.currency:
        text = f"threshold: is in {code}: write it in {account.currency}, the account's currency"
        raise Refused(text, field="threshold")
    threshold = 0 if new.threshold is None else to_micros(new.threshold, "threshold")
    if threshold < 0:
        raise Refused("threshold: a loss is written without a sign: 100", field="threshold")
    terms, former = Terms(rule=new.rule, threshold=threshold), payments.terms_of(account)
    await payments.set_terms(ctx.tx, account, terms)
    before, after = (
        TermsSet(account=account.code, rule=each.rule, threshold=each.threshold) for each in (former, terms)
    )
    ctx.notes |= {"entity": f"terms of {account.code}", "before": before, "after": after}
    return after


@command("payment owed", role=Role.VIEWER, scope=Scope.TEAM, render=owed_message, reads=True, positional=("account",))
async def show_owed(ctx: Context, new: PaymentsQuery) -> OwedList:
    """Commission by account and month, what bad months carry on, and what has been paid of it."""
    if new.account is not None:
        rows = [await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")]
    else:
        mine = select(accounts).where(accounts.c.team_id == ctx.team_id).order_by(accounts.c.code)
        rows = list(await ctx.tx.execute(mine))
    return OwedList(items=[owed for row in rows for owed in await payments.owed(ctx.tx, row)])
