"""The digest: what happened, what changed since the last one, what is awaited, what needs a hand."""

from collections.abc import Iterable

from bot.core.message import Block, Button, Buttons, Chart, Fields, Message, Notice, Series, Table, Text
from bot.digests.facts import DigestFacts, Movement
from bot.render import figures
from bot.render.figures import LEGEND, change, count, money, percent
from storage.ledger.reports.report_rows import MergedReport
from storage.reports.forecast import Forecast

MOST_ROWS = 12
MOST_LINES = 8


def message(facts: DigestFacts) -> Message:
    """Facts to a message; its title stands alone as a push notification."""
    blocks: list[Block] = [Notice("info", facts.late)] if facts.late else []
    blocks += [*_period(facts), *_pending(facts), *_restated(facts), *_movers(facts), *_vanished(facts)]
    blocks += [*_attention(facts), *_chart(facts), _buttons(facts)]
    return Message(title(facts), tuple(blocks))


def title(facts: DigestFacts) -> str:
    happened = facts.report.rows or facts.report.unassigned
    parts = list(_measured_parts(facts.report)) if happened else ["nothing happened"]
    if waiting := [attention for attention in facts.attention if attention.level in {"warning", "error"}]:
        parts.append(f"{len(waiting)} to look at")
    return f"{facts.name}: {', '.join(parts)}"


def _measured_parts(report: MergedReport) -> Iterable[str]:
    """What is measured, in few words."""
    totals, currency = report.totals, report.currency
    ftds, regs = totals.first_deposits.merged, totals.registrations.merged
    if ftds is not None:
        yield f"{figures.first_deposits(totals)} {'FTD' if totals.first_deposits.merged == 1 else 'FTDs'}"
    if regs is not None:
        yield f"{figures.layered(totals.registrations)} regs"
    if ftds is None and regs is None and totals.clicks is not None:
        yield f"{count(totals.clicks)} clicks"
    yield f"commission {figures.worded_commission(totals, currency)}"
    if totals.commission is not None and totals.profit is not None and totals.spend is not None:
        yield f"profit {figures.round_money(totals.profit, currency)}"


def _period(facts: DigestFacts) -> Iterable[Block]:
    report, totals, currency = facts.report, facts.report.totals, facts.report.currency
    usual = facts.usual
    regs = totals.registrations.merged
    fields = (
        ("Clicks", _against(count(totals.clicks), totals.clicks, usual.clicks)),
        ("Registrations", _against(figures.layered(totals.registrations), regs, usual.registrations)),
        ("FTDs", _against(figures.first_deposits(totals), totals.first_deposits.merged, usual.first_deposits)),
        ("CR · reg2dep", " · ".join((
            percent(regs, totals.clicks), percent(totals.first_deposits.merged, regs),
        ))),
        ("Deposits", figures.layered(totals.deposits)),
        ("Commission", figures.worded_commission(totals, currency, exact=True)),
        ("Spend", money(totals.spend, currency)),
        ("Profit · ROI", f"{figures.profit(totals, currency)} · {figures.roi(totals)}"),
    )  # fmt: skip
    yield Fields(fields)
    if report.rows or report.unassigned:
        yield figures.compact(figures.report_table(figures.biggest(report, MOST_ROWS), facts.by))
        more = len(report.rows) - MOST_ROWS
        yield Text(LEGEND + (f" · and {more} more rows: stats {facts.range} by {facts.by[0]}" if more > 0 else ""))
    else:
        yield Text("Nothing happened.")


def _against(text: str, value: int | None, usual: float | None) -> str:
    moved = change(value, usual)
    return f"{text} ({moved} vs 7-day avg)" if moved else text


def _pending(facts: DigestFacts) -> Iterable[Block]:
    if facts.pending:
        yield Text("Pending", strong=True)
        yield Text("\n".join(_some([pending.text for pending in facts.pending])))
    if facts.pending and facts.expected is not None:
        yield from _estimate(facts.expected, facts.report.currency)


def _estimate(made: Forecast, currency: str) -> Iterable[Block]:
    """What the pending days may bring, how such estimates did, and which offers are not in it."""
    if (estimate := made.total) is not None:
        between = f"{figures.round_money(estimate.low, currency)} … {figures.round_money(estimate.high, currency)}"
        text = f"Estimate from FTDs in hand: ≈ {figures.round_money(estimate.estimate, currency)} (80%: {between})"
        yield Text(f"{text}. {record}" if (record := figures.outcomes_inside(made.total_accuracy)) else text)
    if lacking := {item.offer: item.lacking for item in made.items if item.lacking}:
        yield Text("No estimate yet: " + "; ".join([f"{offer} ({why})" for offer, why in lacking.items()][:MOST_LINES]))


def _restated(facts: DigestFacts) -> Iterable[Block]:
    if facts.restated:
        yield Text("Changed since the last digest", strong=True)
        shown = facts.restated[:MOST_ROWS]
        rows = tuple((f"{r.day:%d %b} {r.account}", r.tag or "no tag", r.measure, r.before, r.now) for r in shown)
        yield Table(("Day and account", "Segment", "Figure", "Was", "Is"), rows, numeric=(3, 4))
        if len(facts.restated) > MOST_ROWS:
            yield Text(f"and {len(facts.restated) - MOST_ROWS} more changed figures")


def _movers(facts: DigestFacts) -> Iterable[Block]:
    if facts.top or facts.bottom:
        yield Text("Top and bottom against their seven-day average", strong=True)
        rows = [_mover(movement, "▲") for movement in facts.top] + [_mover(movement, "▼") for movement in facts.bottom]
        columns = (facts.by[0].capitalize(), "Figure", "Now", "7-day avg", "Change")
        yield Table(columns, tuple(rows), numeric=(2, 3, 4))


def _mover(movement: Movement, arrow: str) -> tuple[str, ...]:
    moved = change(round(movement.value), movement.usual) or "new"
    return (movement.name, movement.measure, f"{movement.value:,.4g}", f"{movement.usual:,.1f}", f"{arrow} {moved}")


def _vanished(facts: DigestFacts) -> Iterable[Block]:
    if facts.vanished:
        yield Text("Vanished: shown by the platform before, now withdrawn", strong=True)
        yield Text("\n".join(_some(facts.vanished)))


def _attention(facts: DigestFacts) -> Iterable[Block]:
    for attention in facts.attention[:MOST_LINES]:
        yield Notice(attention.level, attention.text)
    if len(facts.attention) > MOST_LINES:
        yield Text(f"and {len(facts.attention) - MOST_LINES} more to look at")
    if facts.healthy:
        yield Notice("ok", facts.healthy)


def _chart(facts: DigestFacts) -> Iterable[Block]:
    days = facts.days
    if sum(day.settled is not None or day.pending is not None or bool(day.first_deposits) for day in days) < 2:
        return
    series = [
        Series("Commission", tuple(point.settled for point in days), "bar"),
        Series("Commission, not settled", tuple(point.pending for point in days), "bar", provisional=True),
        Series("Spend", tuple(point.spend for point in days), "bar"),
        Series("FTDs", tuple(point.first_deposits for point in days)),
    ]
    known = tuple(line for line in series if any(value is not None for value in line.values))
    labels = tuple(f"{point.day:%d %b}" for point in days)
    yield Chart("Commission, spend and FTDs, 30 days", labels, known, facts.report.currency)


def _buttons(facts: DigestFacts) -> Buttons:
    by = facts.by[0]
    buttons = [Button("By day", "stats 7d by day"), Button(f"7 days by {by}", f"stats 7d by {by}")]
    buttons += [Button("Sync status", "sync status")] if facts.has_accounts else []
    buttons += [Button("Unmatched postbacks", "postback log outcome=unmatched")] if facts.unmatched else []
    return Buttons(tuple(buttons))


def _some(lines: list[str] | tuple[str, ...]) -> list[str]:
    shown = [f"• {line}" for line in lines[:MOST_LINES]]
    return shown + ([f"• and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else [])
