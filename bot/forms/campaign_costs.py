"""What a campaign's traffic costs, and its budget: the fields of `campaign create` and `campaign edit`."""

import re
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Row

from bot.core.arguments import EMPTIES, NONE, choices, currency_code, to_micros
from bot.core.context import Context
from bot.forms.sorting import Sorting
from storage.catalogue import campaigns
from storage.catalogue.campaigns import Campaign
from storage.clicks import budgets
from storage.ledger import cost_models as models
from storage.ledger import pacing as pacings
from storage.ledger.errors import Refused
from storage.ledger.money import units
from storage.ledger.numbers import read_amount

_COUNTRY = re.compile(r"([A-Za-z]{2})\s*[:=]\s*(.+)")
_PRICE_OF = {
    "fixed": "a click", "cpm": "1,000 clicks", "unique": "a unique click", "per_day": "a day with clicks",
}  # fmt: skip


_PACING = {pacings.EVEN: "spread evenly over the day", pacings.USUAL: "spread over the day as clicks usually come"}


class Costing(Sorting):
    """What traffic costs, and what a campaign is sorted by."""

    cost_model: Annotated[
        str | None,
        choices("where the cost comes from: cost parameter of the link, a price per click (cpc), 1,000 clicks, unique "
                "click, conversion or day, a share of commission, uploads", *models.MODELS),
    ] = None  # fmt: skip
    cost: Annotated[
        Decimal | None, Meta(description="the model's price, e.g. 0.05; of a rev share per cent, e.g. 30")
    ] = None
    currency: Annotated[str | None, Meta(description="of the cost; default: the reporting currency")] = None
    cost_event: Annotated[str | None, choices("of a CPA: what is paid for", *models.EVENTS)] = None
    country_costs: Annotated[
        list[str] | None, Meta(description="prices that differ by country: DE:0.08,AT:0.06"), EMPTIES
    ] = None
    budget_day: Annotated[
        Decimal | None,
        Meta(description="most that clicks of a day may cost; then they go to the fallback; 0: no budget"),
    ] = None
    budget_total: Annotated[Decimal | None, Meta(description="the same for all days together")] = None
    pacing: Annotated[
        str | None,
        choices("spread the day's budget over its hours: evenly, or by when clicks usually come", *pacings.MODES),
        EMPTIES,
    ] = None


def read_costs(ctx: Context, new: Costing, row: Row[Any] | None = None) -> dict[str, Any]:
    """Columns of what is said of costs; empty where an edit says nothing. Raises Refused at the field."""
    changes = {name: getattr(new, name) for name in Costing.__annotations__ if getattr(new, name) is not None}
    if row is not None and not changes:
        return {}
    before = dict(row._mapping) if row is not None else {}
    model = _model(new, before)
    same = model == before.get("cost_model")
    cost = to_micros(new.cost, "cost") if new.cost is not None else before.get("cost") if same else None
    by_country = _by_country(new.country_costs) if new.country_costs else before.get("country_costs") if same else None
    event = new.cost_event or (before.get("cost_event") if same else None)
    values = {
        "cost_model": model, "cost": cost, "country_costs": by_country or None,
        "currency": currency_code(new.currency, before.get("currency") or ctx.deployment.currency),
        "cost_event": (event or "first_deposit") if model == models.CPA else None,
        "budget_day": before.get("budget_day"), "budget_total": before.get("budget_total"),
        "pacing": before.get("pacing"),
    }  # fmt: skip
    for name in ("budget_day", "budget_total"):
        if (budget := getattr(new, name)) is not None:
            values[name] = to_micros(budget, name) or None
    values["pacing"] = _pacing(new, values)
    _check(values, event)
    return values


def _model(new: Costing, before: dict[str, Any]) -> str:
    word = new.cost_model
    if word is None:
        now = before.get("cost_model", models.LINK)
        return models.FIXED if new.cost is not None and now not in models.PRICED else now
    model = models.WORDS.get(word.strip().lower().replace("-", "_").replace(" ", "_"))
    if model is None:
        raise Refused(f"cost_model: one of {', '.join(models.MODELS)}", field="cost_model")
    return model


def _pacing(new: Costing, values: dict[str, Any]) -> str | None:
    """How the day's budget is spread; it ends with the budget."""
    if new.pacing is None:
        return values["pacing"] if values["budget_day"] else None
    if new.pacing == NONE:
        return None
    if new.pacing.lower() not in pacings.MODES:
        raise Refused(f"pacing: one of {', '.join(pacings.MODES)}, or none", field="pacing")
    if not values["budget_day"]:
        raise Refused("pacing: there is no budget of the day to spread: budget_day=…", field="pacing")
    return new.pacing.lower()


def _by_country(words: list[str]) -> dict[str, int]:
    if words == [NONE]:
        return {}
    prices = {}
    for word in words:
        match = _COUNTRY.fullmatch(word.strip())
        try:
            read = read_amount(match[2], "", None) if match else None
        except ValueError:
            read = None
        if match is None or read is None or read.currency or read.value < 0:
            raise Refused(f"country_costs: {word!r} is not a country and its price: write DE:0.08,AT:0.06",
                          field="country_costs")  # fmt: skip
        prices[match[1].upper()] = to_micros(read.value, "country_costs")
    return prices


def _check(values: dict[str, Any], event: str | None) -> None:
    model, cost, by_country = values["cost_model"], values["cost"], values["country_costs"]
    if cost is not None and cost < 0:
        raise Refused("cost: cannot be negative", field="cost")
    if model in models.PRICED and cost is None:
        raise Refused(f"cost: missing; say what {_PRICE_OF.get(model, model)} costs, e.g. cost=0.05", field="cost")
    if event and model != models.CPA:
        raise Refused("cost_event: only cost_model=cpa pays per conversion", field="cost_event")
    if event and event not in models.EVENTS:
        raise Refused(f"cost_event: one of {', '.join(models.EVENTS)}", field="cost_event")
    if by_country and model not in models.BY_COUNTRY:
        raise Refused(f"country_costs: only with cost_model {', '.join(sorted(models.BY_COUNTRY))}",
                      field="country_costs")  # fmt: skip
    if model == models.CPM and any(price % 1000 for price in (cost or 0, *(by_country or {}).values())):
        raise Refused("cost: a price per 1,000 clicks has at most three digits after the point", field="cost")
    if model == models.REVSHARE and not 0 < (cost or 0) <= models.WHOLE_SHARE:
        raise Refused("cost: a share of commission is above 0 and at most 100 per cent, e.g. cost=30", field="cost")
    for name in ("budget_day", "budget_total"):
        if values[name] is not None and values[name] < 0:
            raise Refused(f"{name}: cannot be negative", field=name)
        if values[name] and model not in models.PER_CLICK:
            raise Refused(
                f"{name}: with cost_model={model} a click's cost is not known when it comes: budgets are for "
                f"{', '.join(sorted(models.PER_CLICK))}; budget_day=0 budget_total=0 removes them",
                field=name,
            )


async def keep_costs(ctx: Context, campaign_id: int, values: dict[str, Any]) -> None:
    """Remember what costs from today on, and count what a budget has used; with the change of the campaign."""
    if "cost_model" not in values:
        return
    await campaigns.record_costs(ctx.tx, ctx.team_id, campaign_id, ctx.today, values)
    if values["budget_day"] or values["budget_total"]:
        await budgets.recount(ctx.tx, ctx.team_id, campaign_id, ctx.today)
    if values["pacing"] == pacings.USUAL:
        await budgets.learn_hours(ctx.tx, ctx.team_id, campaign_id, ctx.today)


def cost_fields(campaign: Campaign) -> tuple[tuple[str, str], ...]:
    """Cost and budget as a card shows them."""
    lines = [("Cost", _cost_line(campaign))]
    if campaign.country_costs:
        lines.append(("Cost by country", ", ".join(campaign.country_costs)))
    parts = [
        f"{_written(budget)} {campaign.currency} {text}"
        for budget, text in ((campaign.budget_day, "a day"), (campaign.budget_total, "in all"))
        if budget
    ]
    if campaign.pacing:
        parts.append(_PACING[campaign.pacing])
    return (*lines, ("Budget", ", ".join(parts))) if parts else tuple(lines)


def _cost_line(campaign: Campaign) -> str:
    model = campaign.cost_model
    if campaign.cost is None:
        return model
    if model == models.REVSHARE:
        return f"{units(campaign.cost).normalize():f} % of commission"
    event = {"first_deposit": "an FTD", "registration": "a registration", "qualified": "a qualified FTD"}
    per = event[campaign.cost_event or "first_deposit"] if model == models.CPA else _PRICE_OF.get(model, "a click")
    return f"{_written(campaign.cost)} {campaign.currency} {per}"


def _written(micros: int) -> str:
    """An amount with the digits after the point that it has, two at least: 0.10, 0.0045."""
    whole, _, part = f"{units(micros):f}".partition(".")
    return f"{int(whole):,}.{part.rstrip('0'):0<2}"
