"""Invoices to platforms in numbered order, with the team's own details, and statements of an account: CSV and PDF."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import Arguments, choices, currency_code, refers, to_micros
from bot.core.command import command
from bot.core.context import Context
from bot.core.limits import limited
from bot.core.listing import Listing, Page
from bot.core.message import Block, Button, Buttons, Fields, File, Message, Notice, Table, Text
from bot.core.permissions import Scope
from bot.forms.first_steps import begin
from bot.render.figures import NONE, money
from bot.render.paper import Paper, PaperTable, draw_pdf
from storage.catalogue import names
from storage.catalogue.entities import page
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.ledger.money import units
from storage.ledger.revenue.owed import Statement
from storage.ledger.tables import write_table
from storage.reports import invoices, payments
from storage.reports.invoices import Bill, Details, Invoice
from storage.tables import accounts
from storage.tables import invoices as table

MOST_DAYS = 365  # to pay
Days = Annotated[int, Meta(ge=0, le=MOST_DAYS)]
Which = Annotated[str, Meta(description="its number: 2026-0007")]
Format = Annotated[str, choices("what HTTP and the shell answer with", "json", "csv", "pdf")]


class BillingDetails(Arguments):
    name: Annotated[str | None, limited("who bills: the team's legal name", text=200)] = None
    address: Annotated[str | None, limited("its address; lines separated by |", text=500)] = None
    tax_id: Annotated[str | None, limited("VAT or registration number", text=100)] = None
    bank: Annotated[str | None, limited("where to pay: IBAN, wallet; lines separated by |", text=500)] = None
    note: Annotated[str | None, limited("a line at the end of each invoice", text=500)] = None
    prefix: Annotated[str | None, limited("stands before each number: CF-", text=20)] = None
    days: Annotated[Days | None, Meta(description="days to pay")] = None


class NewInvoice(Arguments):
    account: Annotated[str, refers("account", "which platform is billed")]
    month: Annotated[str | None, Meta(description="whose commission: 2026-10; last month, if absent")] = None
    amount: Annotated[Decimal | None, Meta(description="what is billed: what is payable of the month, if absent")] = (
        None
    )
    currency: Annotated[str | None, Meta(description="the account's own, if absent")] = None
    recipient: Annotated[
        str | None, limited("who is billed, lines separated by |: the account's name, if absent", text=500)
    ] = None
    due: Annotated[date | None, Meta(description="when it is due: by the team's days to pay, if absent")] = None


class OneInvoice(Arguments):
    invoice: Which


class InvoiceQuery(Arguments):
    invoice: Which
    format: Annotated[str, choices("what HTTP answers with", "json", "pdf")] = "json"


class InvoicePage(Listing):
    account: Annotated[str | None, refers("account", "only this account's")] = None


class StatementQuery(Arguments):
    account: Annotated[str, refers("account", "whose statement")]
    month: Annotated[str | None, Meta(description="only this month: 2026-10")] = None
    format: Format = "json"


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """A month of an account: commission by the platform, what was billed, and what of that is paid, open, overdue."""

    month: str
    commission: int
    payable: int
    received: int  # in the month
    billed: int
    paid: int
    open: int
    overdue: int


class AccountStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Months of an account in one currency; amounts in micro-units."""

    account: str
    currency: str
    lines: list[StatementLine]
    invoices: list[Invoice]


class Statements(msgspec.Struct, frozen=True, kw_only=True):
    items: list[AccountStatement]
    next: str | None = None


def details_card(_ctx: Context, made: Details) -> Message:
    fields = (
        ("Name", made.name or NONE), ("Address", made.address or NONE), ("Tax id", made.tax_id or NONE),
        ("Bank", made.bank or NONE), ("Note", made.note or NONE), ("Number", f"{made.prefix}2026-0001"),
        ("Days to pay", str(made.days)),
    )  # fmt: skip
    return Message("What stands on invoices", (Fields(fields),), private=True)


def invoice_card(ctx: Context, made: Invoice) -> Message:
    if "file" in ctx.notes:
        return Message(f"Invoice {made.code}", (ctx.notes["file"],), private=True)
    fields = (
        ("Account", ctx.label("account", made.account)), ("Commission of", made.month),
        ("Issued", f"{made.issued:%d %b %Y}"), ("Due", f"{made.due:%d %b %Y}"),
        ("Amount", money(made.amount, made.currency)), ("Paid", money(made.paid, made.currency)),
        ("Open", money(made.open, made.currency)), ("To", made.recipient.replace("|", ", ")),
    )  # fmt: skip
    blocks: list[Block] = [Fields(fields), Buttons((Button("PDF", f"invoice show {made.code} format=pdf"),))]
    return Message(f"Invoice {made.code} · {made.state}", tuple(blocks), private=True)


def invoice_table(ctx: Context, made: Page[Invoice]) -> Message:
    rows = tuple(
        (each.code, ctx.name("account", each.account), each.month, f"{each.due}", money(each.amount, each.currency),
         money(each.open, each.currency), each.state)
        for each in made.items
    )  # fmt: skip
    if not rows:
        return Message(
            "No invoice yet: invoice add <account>", begin(ctx, "Write an invoice", "invoice add"), private=True
        )
    columns = ("Invoice", "Account", "Month", "Due", "Amount", "Open", "State")
    return Message("Invoices, the latest first",
                   (Table(columns, rows, numeric=(4, 5), phone=(0, 1, 3, 5, 6)),), private=True)  # fmt: skip


def statement_message(ctx: Context, made: Statements) -> Message:
    if "file" in ctx.notes:
        return Message("Statement", (ctx.notes["file"],), private=True)
    if not made.items:
        return Message("Nothing was earned, billed or paid there yet", private=True)
    blocks: list[Block] = []
    for each in made.items:
        blocks += [Text(f"{ctx.name('account', each.account)}, {each.currency}", strong=True), _lines_table(each)]
        late = sum(line.overdue for line in each.lines)
        if late:
            blocks.append(Notice("warning", f"{money(late, each.currency)} overdue"))
    blocks.append(Text("Payments settle the invoice that is due first."))
    return Message("Statement", tuple(blocks), private=True)


def _lines_table(made: AccountStatement) -> Table:
    rows = tuple((line.month, *(money(value, made.currency) for value in _amounts(line))) for line in made.lines)
    return Table(_COLUMNS, rows, numeric=tuple(range(1, 8)), phone=(0, 2, 4, 6, 7))


_COLUMNS = ("Month", "Commission", "Payable", "Received", "Billed", "Paid of it", "Open", "Overdue")


def _amounts(line: StatementLine) -> tuple[int, ...]:
    return line.commission, line.payable, line.received, line.billed, line.paid, line.open, line.overdue


@command("invoice details", role=Role.OWNER, render=details_card)
async def set_details(ctx: Context, new: BillingDetails) -> Details:
    """Set what stands on the team's invoices; without arguments it is shown."""
    before = await invoices.details(ctx.tx, ctx.team_id)
    changes = {name: getattr(new, name) for name in new.__struct_fields__ if getattr(new, name) is not None}
    if not changes:
        ctx.unchanged = True
        return before
    after = msgspec.structs.replace(before, **changes)
    await invoices.set_details(ctx.tx, ctx.team_id, after)
    ctx.notes |= {"entity": "invoice details", "before": before, "after": after}
    return after


@command("invoice add", role=Role.BUYER, scope=Scope.TEAM, render=invoice_card, positional=("account", "month"),
         aliases=("invoice create",))  # fmt: skip
async def add_invoice(ctx: Context, new: NewInvoice) -> Invoice:
    """Bill a platform for a month under the next number; with the team's details as they are now."""
    account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    month = _month(new.month) if new.month else _month_before(ctx.today)
    currency = currency_code(new.currency, account.currency)
    amount = await _payable(ctx, account, month, currency) if new.amount is None else to_micros(new.amount)
    if amount <= 0:
        raise Refused(f"amount: nothing is payable for {month}: say what is billed, e.g. amount=100", field="amount")
    sender = await invoices.details(ctx.tx, ctx.team_id)
    if not sender.name:
        raise Refused("account: say first who bills: invoice details name=… address=…", field="account")
    due = new.due or invoices.due_day(ctx.today, sender.days)
    if due < ctx.today:
        raise Refused(f"due: {due} is over", field="due")
    bill = Bill(account_id=account.id, month=month, issued=ctx.today, due=due, amount=amount, currency=currency,
                recipient=new.recipient or account.name)  # fmt: skip
    made = await invoices.add(ctx.tx, ctx.team_id, bill, sender=sender, now=ctx.now)
    invoice = await _one(ctx, await invoices.find(ctx.tx, ctx.team_id, str(made)))
    ctx.notes |= {"entity": f"invoice {invoice.code}", "after": invoice}
    return invoice


async def _payable(ctx: Context, account: Row[Any], month: str, currency: str) -> int:
    """What the account owes of a month, less what was billed for it."""
    owed = [each for each in await payments.owed(ctx.tx, account) if each.currency == currency]
    payable = sum(line.payable for each in owed for line in each.months if line.month == month)
    rows = list(await ctx.tx.execute(invoices.listed(ctx.team_id, account.id).where(table.c.month == month)))
    return payable - sum(int(row.amount) for row in rows if row.currency == currency and not row.cancelled)


@command("invoice list", role=Role.VIEWER, scope=Scope.TEAM, render=invoice_table, reads=True, positional=("account",))
async def list_invoices(ctx: Context, new: InvoicePage) -> Page[Invoice]:
    """Invoices, the latest first, and what of each is paid, open or overdue."""
    account_id = None
    if new.account is not None:
        account_id = (await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")).id
    query = invoices.listed(ctx.team_id, account_id)
    rows, following = await page(ctx.tx, query, table.c.id, limit=new.limit, after=new.after, latest=True)
    return Page(await invoices.shown(ctx.tx, rows, ctx.today), following)


@command("invoice show", role=Role.VIEWER, scope=Scope.TEAM, render=invoice_card, reads=True, positional=("invoice",))
async def show_invoice(ctx: Context, new: InvoiceQuery) -> Invoice:
    """An invoice, and as a PDF."""
    if new.format not in {"json", "pdf"}:
        raise Refused(f"format: {new.format!r} is neither json nor pdf", field="format")
    row = await invoices.find(ctx.tx, ctx.team_id, new.invoice)
    invoice = await _one(ctx, row)
    if new.format == "pdf":
        content = await ctx.ports.run_in_helper(draw_pdf, _paper(row, invoice), advice="try again")
        ctx.notes["file"] = File(f"invoice-{names.slug(row.code)}.pdf", "", "application/pdf", content)
    return invoice


def _paper(row: Row[Any], invoice: Invoice) -> Paper:
    sender = msgspec.convert(row.sender, Details)
    total = money(invoice.amount, invoice.currency)
    void = ("CANCELLED",) if row.cancelled else ()
    return Paper(
        title=f"Invoice {invoice.code}",
        sender=(sender.name, *_split(sender.address), *_tax_id(sender.tax_id)),
        recipient=_split(invoice.recipient),
        fields=(("Date", f"{invoice.issued}"), ("Due", f"{invoice.due}"), ("Period", invoice.month)),
        tables=(
            PaperTable(columns=("Service", "Amount"), rows=((f"Affiliate commission {invoice.month}", total),),
                       total=("Total", total)),
        ), notes=(*void, *_split(sender.bank), *_split(sender.note)),
    )  # fmt: skip


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", "|").split("|") if part.strip())


def _tax_id(text: str) -> tuple[str, ...]:
    return (f"Tax id {text}",) if text else ()


async def _takes_back(ctx: Context, new: OneInvoice) -> str:
    invoice = await _one(ctx, await invoices.find(ctx.tx, ctx.team_id, new.invoice))
    return f"{money(invoice.amount, invoice.currency)} is no longer billed; the number stays and is not given again."


@command("invoice cancel", role=Role.BUYER, scope=Scope.TEAM, render=invoice_card, positional=("invoice",),
         confirm=_takes_back)  # fmt: skip
async def cancel_invoice(ctx: Context, new: OneInvoice) -> Invoice:
    """Take an invoice back; its number stays in the list as cancelled."""
    row = await invoices.find(ctx.tx, ctx.team_id, new.invoice)
    if row.cancelled:
        raise Refused(f"invoice {row.code} is cancelled already", field="invoice")
    before = await _one(ctx, row)
    await invoices.cancel(ctx.tx, row.id)
    after = await _one(ctx, await invoices.find(ctx.tx, ctx.team_id, str(row.id)))
    ctx.notes |= {"entity": f"invoice {row.code}", "before": before, "after": after}
    return after


@command("payment statement", role=Role.VIEWER, scope=Scope.TEAM, render=statement_message, reads=True,
         positional=("account", "month"))  # fmt: skip
async def show_statement(ctx: Context, new: StatementQuery) -> Statements:
    """An account month by month: commission, payable, received, billed, and what of that is paid, open, overdue."""
    if new.format not in {"json", "csv", "pdf"}:
        raise Refused(f"format: {new.format!r} is not json, csv or pdf", field="format")
    account = await names.find(ctx.tx, accounts, ctx.team_id, new.account, field="account")
    month = _month(new.month) if new.month else None
    billed = await invoices.shown(
        ctx.tx, list(await ctx.tx.execute(invoices.listed(ctx.team_id, account.id).order_by(table.c.id))), ctx.today
    )
    owed = {each.currency: each.months for each in await payments.owed(ctx.tx, account)}
    made = [
        _statement(account.code, currency, owed.get(currency, []),
                   [each for each in billed if each.currency == currency], only=month)
        for currency in sorted(owed.keys() | {each.currency for each in billed})
    ]  # fmt: skip
    statements = Statements(items=[each for each in made if each.lines])
    await _add_file(ctx, statements, account, new.format)
    return statements


def _statement(
    account: str, currency: str, months: list[Statement], billed: list[Invoice], *, only: str | None
) -> AccountStatement:
    line_of_month = {each.month: each for each in months}
    by_month = {month: [each for each in billed if each.month == month and each.state != "cancelled"] for month in
          {each.month for each in billed}}  # fmt: skip
    wanted = [month for month in sorted(line_of_month.keys() | by_month.keys()) if only is None or month == only]
    lines = [_statement_line(month, line_of_month.get(month), by_month.get(month, [])) for month in wanted]
    return AccountStatement(account=account, currency=currency, lines=lines,
                            invoices=[each for each in billed if only is None or each.month == only])  # fmt: skip


def _statement_line(month: str, known: Statement | None, billed: list[Invoice]) -> StatementLine:
    return StatementLine(
        month=month, commission=known.commission if known else 0, payable=known.payable if known else 0,
        received=known.paid if known else 0, billed=sum(each.amount for each in billed),
        paid=sum(each.paid for each in billed), open=sum(each.open for each in billed),
        overdue=sum(each.open for each in billed if each.state == "overdue"),
    )  # fmt: skip


async def _add_file(ctx: Context, made: Statements, account: Row[Any], form: str) -> None:
    if form == "csv":
        head = [name.lower().replace(" ", "_") for name in _COLUMNS]
        lines = [
            [each.currency, line.month, *(f"{units(value):f}" for value in _amounts(line))]
            for each in made.items
            for line in each.lines
        ]
        ctx.notes |= {
            "csv": True,
            "file": File(f"statement-{account.code}.csv", write_table([["currency", *head], *lines])),
        }
    elif form == "pdf":
        sender = await invoices.details(ctx.tx, ctx.team_id)
        content = await ctx.ports.run_in_helper(
            draw_pdf, _statement_paper(ctx, made, account, sender), advice="try again"
        )
        ctx.notes["file"] = File(f"statement-{account.code}.pdf", "", "application/pdf", content)


def _statement_paper(ctx: Context, made: Statements, account: Row[Any], sender: Details) -> Paper:
    months = sorted({line.month for each in made.items for line in each.lines})
    period = (("Period", " to ".join(dict.fromkeys((months[0], months[-1])))),) if months else ()
    return Paper(
        title=f"Statement: {account.name}", recipient=(account.name,),
        sender=(sender.name, *_split(sender.address), *_tax_id(sender.tax_id)),
        fields=(("Date", f"{ctx.today}"), *period),
        tables=tuple(table for each in made.items for table in _statement_tables(each)),
        notes=("Payments settle the invoice that is due first.", *_split(sender.bank)), wide=True,
    )  # fmt: skip


def _statement_tables(made: AccountStatement) -> tuple[PaperTable, ...]:
    """The months of a currency with their sums, and its invoices."""
    sums = [sum(column) for column in zip(*map(_amounts, made.lines), strict=True)]
    months = PaperTable(
        title=f"In {made.currency}", columns=_COLUMNS,
        total=("Total", *(money(value, made.currency) for value in sums)),
        rows=tuple((line.month, *(money(value, made.currency) for value in _amounts(line))) for line in made.lines),
    )  # fmt: skip
    billed = PaperTable(
        title=f"Invoices in {made.currency}", columns=("Invoice", "Month", "Issued", "Due", "State", "Amount", "Paid",
                                                       "Open"), texts=5,
        rows=tuple(
            (each.code, each.month, f"{each.issued}", f"{each.due}", each.state, money(each.amount, each.currency),
             money(each.paid, each.currency), money(each.open, each.currency))
            for each in made.invoices
        ),
    )  # fmt: skip
    return (months, billed) if made.invoices else (months,)


async def _one(ctx: Context, row: Row[Any]) -> Invoice:
    return (await invoices.shown(ctx.tx, [row], ctx.today))[0]


def _month(word: str) -> str:
    try:
        return f"{date.fromisoformat(f'{word.strip()}-01'):%Y-%m}"
    except ValueError:
        raise Refused(f"month: {word!r} is no month: write 2026-10", field="month") from None


def _month_before(today: date) -> str:
    return f"{today.year - 1}-12" if today.month == 1 else f"{today.year}-{today.month - 1:02}"
