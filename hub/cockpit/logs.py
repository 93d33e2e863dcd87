"""Logs: clicks, postbacks in, postbacks out, conversions, each latest first with filters; and one click's story."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.chat.questions import questions
from bot.commands.clicks import click_file
from bot.core.command import COMMANDS
from hub.cockpit.page import Cockpit, Visit
from storage.catalogue.entities import MAX_PAGE
from storage.ledger.errors import CasinoFluxError


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """One log: the command behind it, its filters, its columns."""

    key: str
    label: str
    command: str
    filters: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]


LOGS = (
    Log(
        key="clicks",
        label="Clicks",
        command="click log",
        filters=("campaign", "offer", "source", "country", "device", "outcome"),
        columns=(
            ("at", "When"),
            ("campaign", "Campaign"),
            ("offer", "Offer"),
            ("source", "Source"),
            ("country", "Country"),
            ("device", "Device"),
            ("reason", "Outcome"),
            ("bot", "Bot"),
            ("click_id", "Click"),
        ),
    ),
    Log(
        key="postbacks",
        label="Postbacks in",
        command="postback log",
        filters=("account", "outcome", "click_id"),
        columns=(
            ("received_at", "When"),
            ("account", "Account"),
            ("outcome", "Outcome"),
            ("reason", "Reason"),
            ("event", "Event"),
            ("amount", "Amount"),
            ("click_id", "Click"),
            ("txn_id", "Transaction"),
        ),
    ),
    Log(
        key="sent",
        label="Postbacks out",
        command="postback sent",
        filters=("source", "state"),
        columns=(
            ("created_at", "When"),
            ("source", "Source"),
            ("event", "Event"),
            ("state", "State"),
            ("attempts", "Tries"),
            ("status", "Answer"),
            ("error", "Error"),
            ("next_at", "Next try"),
        ),
    ),
    Log(
        key="conversions",
        label="Conversions",
        command="conversion list",
        filters=("campaign", "event", "day"),
        columns=(
            ("received_at", "When"),
            ("event", "Event"),
            ("status", "Status"),
            ("amount", "Amount"),
            ("campaign", "Campaign"),
            ("offer", "Offer"),
            ("click_id", "Click"),
            ("txn_id", "Transaction"),
        ),
    ),
)
STATES = {"outcome", "status", "state"}


def log_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.get("/cockpit/logs/{name:str}")
    async def log(visit: Visit) -> Response[Any]:
        shown = [entry for entry in LOGS if visit.may(entry.command)]
        chosen = next((entry for entry in shown if entry.key == visit.place["name"]), shown[0])
        filters = visit.filled(*chosen.filters)
        page = await visit.ask(chosen.command, limit=50, **filters, **visit.filled("after"))
        choices = {question.name: question.choices for question in questions(COMMANDS[chosen.command])}
        return await visit.html(
            "log.html", section="logs", title="Logs", logs=shown, chosen=chosen, items=page.items, next=page.next,
            choices=choices, cell=_cell, states=STATES, address=urlencode(filters),
            names=await visit.labels("campaign", "offer", "source", "account"),
        )  # fmt: skip

    @cockpit.get("/cockpit/logs/clicks.csv")
    async def clicks_csv(visit: Visit) -> Response[Any]:
        """The page of the click log that is looked at, with every stored field."""
        filters = visit.filled(*LOGS[0].filters, "after")
        page = await visit.ask(LOGS[0].command, limit=MAX_PAGE, **filters)
        headers = {"Content-Disposition": 'attachment; filename="clicks.csv"'}
        return Response(click_file(page.items).text, media_type="text/csv", headers=headers)

    @cockpit.get("/cockpit/story/{click_id:str}")
    async def story(visit: Visit) -> Response[Any]:
        return await _story(visit, visit.place["click_id"])

    return [clicks_csv, log, story]


def _cell(visit: Visit, item: Any, key: str) -> str:
    value = getattr(item, key, None)
    if key == "event" and value:
        return {"first_deposit": "FTD"}.get(str(value), str(value))
    if key == "amount" and value is not None:
        return visit.show.money(value, getattr(item, "currency", None) or "")
    return visit.show.text(value)


async def _story(visit: Visit, click_id: str) -> Response[Any]:
    """Visit, postbacks, deliveries and figures of one click, in order of time."""
    click = await visit.ask("click show", click_id=click_id)
    postbacks = (await visit.ask("postback log", click_id=click_id, limit=100)).items
    why = None
    if click.offer:
        try:
            why = await visit.ask("why", offer=click.offer, day=f"{click.at:%Y-%m-%d}")
        except CasinoFluxError:
            why = None
    return await visit.html(
        "story.html", section="logs", title="One click's story", click=click, postbacks=postbacks, why=why,
        steps=_steps(visit, click, postbacks), details=_details(visit, click),
    )  # fmt: skip


def _steps(visit: Visit, click: Any, postbacks: list[Any]) -> list[tuple[Any, str, str]]:
    where = " → ".join(part for part in (click.source, click.campaign, click.site, click.offer) if part)
    steps = [(click.at, "click", where or "no campaign")]
    for postback in postbacks:
        amount = visit.show.money(postback.amount, postback.currency or "") if postback.amount is not None else ""
        detail = " ".join(part for part in (postback.event or "postback", amount, postback.reason or "") if part)
        steps.append((postback.received_at, str(postback.outcome.value), f"{postback.account}: {detail}"))
    for conversion in click.conversions:
        amount = (
            "" if conversion["amount"] is None else visit.show.money(conversion["amount"], conversion["currency"] or "")
        )
        steps.append((conversion["occurred_at"], str(conversion["status"]), f"{conversion['event']} {amount}".strip()))
        steps += [
            (past["at"], "changed", f"{conversion['event']}: {past}")
            for past in conversion.get("history", [])
            if "at" in past
        ]
    return sorted(steps, key=lambda step: str(step[0]))


def _details(visit: Visit, click: Any) -> list[tuple[str, str]]:
    skipped = {"conversions", "id", "outgoing"}
    shown = []
    for field in msgspec.structs.fields(type(click)):
        value = getattr(click, field.name)
        if field.name not in skipped and value not in (None, "", [], {}):
            text = visit.show.money(value, click.currency or "") if field.name == "cost" else visit.show.text(value)
            shown.append((field.encode_name.replace("_", " ").capitalize(), text))
    return shown
