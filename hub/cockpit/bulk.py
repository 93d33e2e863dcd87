"""One action for several chosen entities, asked once with their names and what is lost: as one change where the
command takes several, else one by one."""

from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from bot.core.command import COMMANDS, consequence_of
from hub.cockpit.entities import BY_NOUN
from hub.cockpit.page import Cockpit, Visit
from storage.ledger.errors import CasinoFluxError, Refused

MOST = 200


def bulk_routes(cockpit: Cockpit) -> list[HTTPRouteHandler]:
    @cockpit.post("/cockpit/bulk/{noun:str}")
    async def bulk(visit: Visit) -> Response[Any]:
        kind = BY_NOUN.get(visit.place["noun"])
        name, chosen = visit.form.get("do", ""), visit.form_lists.get("chosen", [])[:MOST]
        if kind is not None and name == f"{kind.noun} edit":
            return await _sort(visit, kind.noun, chosen)
        if kind is None or name not in {action for action, _ in kind.actions} or name not in COMMANDS:
            raise Refused("choose what is to be done", field="do")
        if not chosen:
            raise Refused("choose at least one line of the list", field="chosen")
        if COMMANDS[name].bulk_result is not None:
            return await _all_at_once(visit, kind.noun, name, chosen)
        if visit.form.get("sure") != "yes":
            label = next(label for action, label in kind.actions if action == name)
            lines = await _questions(visit, kind.noun, name, chosen)
            title = f"{label}: {len(chosen)} {kind.plural.lower()}"
            return await visit.html("bulk.html", section=kind.noun, title=title, kind=kind, name=name,
                                    label=label, chosen=chosen, lines=lines)  # fmt: skip
        return visit.leave_for(f"/cockpit/{kind.noun}", toast=await _each(visit, kind.noun, name, chosen))

    return [bulk]


async def _sort(visit: Visit, noun: str, chosen: list[str]) -> Response[Any]:
    """Put what is chosen into a group, or tag it. Raises Refused where neither is said."""
    fields = {name: value for name in ("group", "tags") if (value := visit.form.get(name, "").strip())}
    if not chosen or not fields:
        raise Refused("choose at least one line of the list, and write a group or tags", field="group")
    return await _all_at_once(visit, noun, f"{noun} edit", chosen, **fields)


async def _all_at_once(visit: Visit, noun: str, name: str, chosen: list[str], **fields: str) -> Response[Any]:
    """A command for several asks by itself, as it does in a chat, and does all or nothing."""
    done = await visit.answer(name, {COMMANDS[name].positional[0]: chosen, **fields})
    if isinstance(done.result, dict) and "confirm" in done.result:
        return await visit.html("confirm.html", section=noun, title=done.message.title, question=done.result,
                          back=f"/cockpit/{noun}")  # fmt: skip
    return visit.leave_for(f"/cockpit/{noun}", toast=done.message.title, undo=done.change is not None)


async def _questions(visit: Visit, noun: str, name: str, chosen: list[str]) -> list[tuple[str, str]]:
    """Each entity's name, and what is lost by the action or why it is refused."""
    subject = COMMANDS[name].positional[0] if COMMANDS[name].positional else noun
    labels = (await visit.labels(noun))[noun]
    lines = []
    for code in chosen:
        try:
            lost = await consequence_of(COMMANDS[name], {subject: code}, visit.context())
        except CasinoFluxError as error:
            lost = f"refused: {error}"
        lines.append((labels.get(code, code), lost or ""))
    return lines


async def _each(visit: Visit, noun: str, name: str, chosen: list[str]) -> str:
    """Do it for each; what is refused for one is reported, and the others go on."""
    subject = COMMANDS[name].positional[0] if COMMANDS[name].positional else noun
    refused = []
    for code in chosen:
        try:
            answer = await visit.answer(name, {subject: code})
            if isinstance(answer.result, dict) and "confirm" in answer.result:
                await visit.answer("confirm", {"code": answer.result["confirm"]})
        except CasinoFluxError as error:
            refused.append(f"{code}: {error}")
    done = len(chosen) - len(refused)
    return f"{name}: {done} done" + (f", {len(refused)} refused: {'; '.join(refused[:3])}" if refused else "")
