"""Who acts by a request, and the audit line of one that is turned away."""

from typing import Any

from litestar import Request

from bot.core.context import Actor
from hub.requests import limits
from hub.requests.limits import Limits
from hub.runtime.runtime import Runtime
from storage.people import audits
from storage.people.tokens import Holder


def actor_of(holder: Holder) -> Actor:
    """Who acts when this token, or a session opened with it, is used."""
    return Actor(
        team_id=holder.team_id, name=holder.name, role=holder.role, member_id=holder.member_id,
        campaigns=holder.campaigns, token_id=holder.token_id,
    )  # fmt: skip


async def record_failure(runtime: Runtime, limited: Limits, request: Request[Any, Any, Any], command: str) -> None:
    """Note in the audit trail that an unknown client was turned away; at most 60 a minute, whoever they are.

    They belong to no team and stand in the first one's, the operator's. An address is kept as its daily hash only.
    """
    if limits.use(limited.audited_failures, "") is not None:
        return
    clicks = runtime.state.get("clicks")
    hashed = clicks.state.keys.address(limited.address(request.scope)).hex()[:16] if clicks else ""
    async with runtime.database.begin() as tx:
        await audits.record(tx, runtime.clock(), audits.Entry(
            team_id=runtime.team_id, actor="unknown", face="web", room="", command=command,
            arguments={"refused": "no valid sign-in", "address": hashed},
        ))  # fmt: skip
