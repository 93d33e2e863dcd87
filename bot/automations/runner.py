"""Automations act: each act is a command through the gate, kept once in the transaction that makes the change."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.automations.evaluation import Candidate
from bot.automations.messages import (
    act_message,
    dry_message,
    ended_message,
    facts_in_words,
    name_of,
    refused_message,
    stopped_message,
    waits_message,
)
from bot.automations.subjects import command_of
from bot.core.command import COMMANDS, run
from bot.core.context import Actor, Context, Deployment, Ports
from bot.core.message import Message
from storage.automations import acts, automations
from storage.automations.acts import Act
from storage.automations.automations import Armed
from storage.automations.history import Entities
from storage.chat import messages, rooms
from storage.db.engine import Database
from storage.db.secrets import Box
from storage.ledger.automations.conditions import Unknown
from storage.ledger.automations.rules import OPPOSITE, Rule
from storage.ledger.automations.steps import LOOP, lift_at
from storage.ledger.errors import CasinoFluxError
from storage.ledger.outbound.templates import host
from storage.ledger.outbound.webhooks import WebhookCall
from storage.outbound.queue import OutboundRequest
from storage.people.audits import Recorded
from storage.tables import outbound

LEFT = "its creator has left the team, or their token was revoked"
LIMITED = "its creator is limited to other campaigns now"


class Repeated(Exception):
    """The act was done before, or the automation is not on any more: nothing is to be changed."""


@dataclass(slots=True)
class AutomationRunner:
    """Does what evaluations ask for, as of `now`."""

    database: Database
    deployment: Deployment
    ports: Ports
    box: Box
    now: datetime

    async def act(self, automation: Armed, rule: Rule, candidate: Candidate, entities: Entities) -> bool:
        """Act on a candidate, once; returns whether it was done now."""
        if automation.terms.dry:
            return await self._notify(automation, rule, candidate, outcome="dry")
        if rule.action.kind in {"tell", "webhook"}:
            return await self._notify(automation, rule, candidate, outcome="told")
        if await self._stop_loop(automation, rule, candidate):
            return False
        name, arguments = command_of(rule, candidate.subject, entities)
        end = lift_at(rule.action.until, self.now, self.deployment.zone)

        async def record(tx: AsyncConnection, change: Recorded) -> None:
            current = await self._lock(tx, automation, candidate)
            act = self._act_of(
                automation, rule, candidate, "done", command=name, arguments=arguments, audit_id=change.id, lift=end
            )
            await self._record(tx, current, candidate, act)
            until = end.astimezone(self.deployment.zone) if end else None
            message = act_message(
                automation, rule, candidate.subject, candidate.verdict, currency=self.deployment.currency,
                audit_id=change.id, until=f"{until:%d %b %H:%M} {until:%Z}" if until else "",
            )  # fmt: skip
            await self._queue_message(tx, automation, f"{_key(automation, candidate)}:said", message)

        try:
            return await self._run(automation, name, arguments, record)
        except Repeated:
            return False
        except CasinoFluxError as error:
            await self._record_refusal(automation, rule, candidate, str(error))
            return False

    async def _run(
        self, automation: Armed, name: str, arguments: dict[str, Any],
        record: Callable[[AsyncConnection, Recorded], Awaitable[None]],
    ) -> bool:  # fmt: skip
        """Run a command with the role and limits that the automation's creator has now. Raises what `run` does."""
        async with self.database.read() as tx:
            rights = await automations.creator_rights(tx, automation, self.now)
        if rights is None:
            await self.stop(automation.id, LEFT)
            raise Repeated
        actor = Actor(
            team_id=automation.team_id, name=f"{automation.code} {automation.name}", role=rights.role,
            campaigns=rights.campaigns,
        )  # fmt: skip
        ctx = Context(
            database=self.database, deployment=self.deployment, actor=actor, face="automation", ports=self.ports,
            box=self.box, clock=lambda: self.now, unread=True, recorded=record,
        )  # fmt: skip
        answer = await run(COMMANDS[name], arguments, ctx, confirmed=True)
        return answer.change is not None

    async def _lock(self, tx: AsyncConnection, automation: Armed, candidate: Candidate) -> Armed:
        """Lock the automation. Raises Repeated if it is off, or has acted on the subject since the evaluation."""
        current = await automations.lock(tx, automation.id)
        if current is None or current.status != "active":
            raise Repeated
        before = current.subjects.get(candidate.subject.ref)
        if (before.episode if before else 0) != candidate.before.episode:
            raise Repeated
        return current

    async def _record(self, tx: AsyncConnection, current: Armed, candidate: Candidate, act: Act) -> None:
        kept = await acts.record(tx, team_id=current.team_id, automation_id=current.id, now=self.now, act=act)
        if kept is None:
            raise Repeated
        await automations.store_subjects(tx, current.id, current.subjects | {candidate.subject.ref: candidate.state})

    def _act_of(
        self, automation: Armed, rule: Rule, candidate: Candidate, outcome: str, *, command: str | None = None,
        arguments: dict[str, Any] | None = None, audit_id: int | None = None, outbound_id: int | None = None,
        lift: datetime | None = None,
    ) -> Act:  # fmt: skip
        return Act(
            key=_key(automation, candidate), outcome=outcome, action=rule.action.kind,
            subject=candidate.subject.ref, label=name_of(candidate.subject), command=command, arguments=arguments,
            why=facts_in_words(candidate.verdict.facts, self.deployment.currency), audit_id=audit_id,
            outbound_id=outbound_id, lift_at=lift,
        )  # fmt: skip

    async def _notify(self, automation: Armed, rule: Rule, candidate: Candidate, *, outcome: str) -> bool:
        """Say it, or call the webhook; nothing of the team's is changed."""
        try:
            async with self.database.begin() as tx:
                current = await self._lock(tx, automation, candidate)
                call = None
                if rule.action.kind == "webhook" and outcome != "dry":
                    call = await self._queue_webhook(tx, automation, rule, candidate)
                act = self._act_of(automation, rule, candidate, outcome, outbound_id=call)
                await self._record(tx, current, candidate, act)
                currency = self.deployment.currency
                if outcome == "dry":
                    message = dry_message(automation, rule, candidate.subject, candidate.verdict, currency=currency)
                else:
                    message = act_message(
                        automation,
                        rule,
                        candidate.subject,
                        candidate.verdict,
                        currency=currency,
                        audit_id=None,
                        until="",
                    )
                await self._queue_message(tx, automation, f"{_key(automation, candidate)}:said", message)
        except Repeated:
            return False
        return True

    async def _queue_webhook(self, tx: AsyncConnection, automation: Armed, rule: Rule, candidate: Candidate) -> int:
        """Queue the webhook's call with the outgoing postbacks: it is signed when it is sent, and tried for a day."""
        url = automation.terms.url
        body = msgspec.json.encode(_payload(automation, candidate, self.now, rule)).decode()
        request = OutboundRequest(webhook=WebhookCall(url=url, body=body))
        made = insert(outbound).values(
            team_id=automation.team_id, automation_id=automation.id, event="automation",
            idempotency_key=f"msg_{automation.id}_{candidate.subject.ref.replace(':', '_')}_{candidate.state.episode}",
            request=msgspec.to_builtins(request), host=host(url), state="queued", next_at=self.now,
            created_at=self.now,
        )  # fmt: skip
        return int((await tx.execute(made.returning(outbound.c.id))).scalar_one())

    async def _stop_loop(self, automation: Armed, rule: Rule, candidate: Candidate) -> bool:
        """Whether automations undo each other's acts on the subject: after three of them they are stopped."""
        other = OPPOSITE.get(rule.action.kind)
        if other is None:
            return False
        async with self.database.read() as tx:
            past = await acts.opposing(tx, automation.team_id, candidate.subject.ref, self.now)
        expected, chain = other, []
        for automation_id, action in past:
            if action != expected:
                break
            chain.append(automation_id)
            expected = OPPOSITE[expected]
        involved = {*chain[:LOOP], automation.id}
        if len(chain) < LOOP or len(involved) < 2:
            return False
        why = f"automations undo each other on {name_of(candidate.subject)}: {LOOP} acts within a day"
        for automation_id in sorted(involved):
            await self.stop(automation_id, why)
        return True

    async def stop(self, automation_id: int, why: str) -> None:
        """Stop an automation and say so."""
        async with self.database.begin() as tx:
            current = await automations.lock(tx, automation_id)
            if current is None or current.status != "active":
                return
            await automations.change(tx, automation_id, status="stopped", stopped_why=why)
            key = f"{current.code}:stopped:{self.now.isoformat()}"
            act = Act(key=key, outcome="stopped", action="", subject="", label=current.name, why=why)
            await acts.record(tx, team_id=current.team_id, automation_id=automation_id, now=self.now, act=act)
            await self._queue_message(tx, current, key, stopped_message(current, why))

    async def _record_refusal(self, automation: Armed, rule: Rule, candidate: Candidate, why: str) -> None:
        """The gate, or the command, does not let it: kept, said, and not tried again while the condition holds."""
        try:
            async with self.database.begin() as tx:
                current = await self._lock(tx, automation, candidate)
                act = msgspec.structs.replace(self._act_of(automation, rule, candidate, "refused"), why=why)
                await self._record(tx, current, candidate, act)
                message = refused_message(automation, name_of(candidate.subject), why)
                await self._queue_message(tx, automation, f"{_key(automation, candidate)}:said", message)
        except Repeated:
            return

    async def end_pause(self, automation: Armed, act: Any, *, noun: str, codes: list[str]) -> bool:
        """Resume what a pause of the automation's held, once; whether it was done now."""

        async def record(tx: AsyncConnection, change: Recorded) -> None:
            if not await acts.lifted(tx, act.id, self.now):
                raise Repeated
            ended = Act(
                key=f"{act.id}:ended", outcome="ended", action="resume", subject=act.subject, label=act.label,
                why="its pause is over", command=f"{noun} resume", arguments={noun: codes}, audit_id=change.id,
            )  # fmt: skip
            await acts.record(tx, team_id=act.team_id, automation_id=automation.id, now=self.now, act=ended)
            await self._queue_message(
                tx, automation, f"act:{act.id}:ended", ended_message(automation, act.label, change.id)
            )

        try:
            return await self._run(automation, f"{noun} resume", {noun: codes}, record)
        except Repeated:
            why = "its creator has left: resume it by hand"
        except CasinoFluxError as error:
            why = str(error)
        async with self.database.begin() as tx:
            if await acts.lifted(tx, act.id, self.now):
                await self._queue_message(
                    tx, automation, f"act:{act.id}:ended", refused_message(automation, act.label, why)
                )
        return False

    async def note_waiting(self, automation: Armed, waits: dict[Unknown, list[str]]) -> None:
        """Keep why the automation cannot judge, and say it: what is pending once, anything else once a day."""
        texts = _texts(waits)
        if texts == automation.waiting:
            return
        day = self.now.astimezone(self.deployment.zone).date()
        async with self.database.begin() as tx:
            await automations.change(tx, automation.id, waiting=list(texts))
            for unknown, labels in waits.items():
                key = f"{automation.code}:waits:{unknown.kind}:{day}"
                about = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
                act = Act(key=key, outcome="waits", action="", subject="", label=about, why=unknown.why)
                await acts.record(tx, team_id=automation.team_id, automation_id=automation.id, now=self.now, act=act)
                said = key if unknown.kind not in {"pending", "unmeasured", "payout"} else key.rpartition(":")[0]
                await self._queue_message(tx, automation, said, waits_message(automation, unknown, labels))

    async def note_daily_limit(self, automation: Armed, labels: list[str]) -> None:
        """Say once a day that the most acts of a day are done."""
        day = self.now.astimezone(self.deployment.zone).date()
        key = f"{automation.code}:most:{day}"
        unknown = Unknown("most", f"it has done its {automation.terms.most} acts of the day")
        async with self.database.begin() as tx:
            act = Act(key=key, outcome="waits", action="", subject="", label=", ".join(labels[:5]), why=unknown.why)
            if await acts.record(tx, team_id=automation.team_id, automation_id=automation.id, now=self.now, act=act):
                await self._queue_message(tx, automation, key, waits_message(automation, unknown, labels))

    async def _queue_message(self, tx: AsyncConnection, automation: Armed, key: str, message: Message) -> None:
        """Queue a message for the automation's room; of one that was lost, for the owners' own chats."""
        places = [(automation.room_id, automation.thread)]
        if automation.lost_room:
            places = [(room.id, "") for room in await rooms.own_chats(tx, automation.team_id, self.now)]
        for room_id, thread in places:
            await messages.queue(
                tx, team_id=automation.team_id, room_id=room_id, thread=thread, key=f"{key}:{room_id}",
                message=message, now=self.now,
            )  # fmt: skip


def _texts(waits: dict[Unknown, list[str]]) -> tuple[str, ...]:
    return tuple(sorted({unknown.why for unknown in waits}))[:10]


def _key(automation: Armed, candidate: Candidate) -> str:
    return f"{automation.code}:{candidate.subject.ref}:{candidate.state.episode}"


def _payload(automation: Armed, candidate: Candidate, now: datetime, rule: Rule) -> dict[str, Any]:
    """What a webhook is sent (docs/automation.md)."""
    return {
        "type": "automation.fired", "timestamp": now.isoformat(),
        "data": {
            "automation": automation.code, "name": automation.name, "rule": automation.terms.rule,
            "subject": {"kind": rule.action.noun, "code": candidate.subject.code, "name": candidate.subject.label},
            "figures": [
                {"measure": fact.comparison.measure, "window": fact.comparison.window, "value": fact.value,
                 "sign": fact.comparison.sign, "limit": fact.limit}
                for fact in candidate.verdict.facts
            ],
        },
    }  # fmt: skip
