"""Who acts by a request, and the audit line of one that is turned away."""

from typing import Any

from litestar import Request, Response

from bot.core.context import Actor
from hub.requests import limits
from hub.requests.limits import Limits
from hub.requests.problems import problem
from hub.runtime.runtime import Runtime
from storage.people import audits, tokens
from storage.people.tokens import Holder


def actor_of(holder: Holder) -> Actor:
    """Who acts when this token, or a session opened with it, is used."""
    return Actor(
        team_id=holder.team_id, name=holder.name, role=holder.role, member_id=holder.member_id,
        campaigns=holder.campaigns, token_id=holder.token_id,
    )  # fmt: skip


async def bearer(runtime: Runtime, request: Request[Any, Any, Any]) -> Actor | None:
    """Who acts by the token of a request; None without a valid one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    holder = await runtime.database.look(lambda tx: tokens.holder(tx, token.strip(), runtime.clock()))
    return None if holder is None else actor_of(holder)


async def no_bearer(
    runtime: Runtime, limited: Limits, request: Request[Any, Any, Any], command: str
) -> Response[bytes]:  # fmt: skip
    """The answer to a request without a valid token, which the audit trail notes."""
    if (refused := limits.use(limited.sign_ins, limited.address(request.scope))) is not None:
        return refused
    await record_failure(runtime, limited, request, command)
    detail = "send an API token: Authorization: Bearer <token>; an owner makes one with token create"
    return problem(401, detail, headers={"www-authenticate": "Bearer"})


async def record_failure(runtime: Runtime, limited: Limits, request: Request[Any, Any, Any], command: str) -> None:
    """Note in the audit trail that an unknown client was turned away; at most 60 a minute, whoever they are.

    They belong to no team and stand in the first one's, the operator's. An address is kept as its daily hash only.
    """
    if limits.use(limited.audited_failures, "") is not None:
        return
    clicks = runtime.state.get("clicks")
    hashed = clicks.state.keys.address(limited.address(request.scope)).hex()[:16] if clicks else ""
    entry = audits.Entry(
        team_id=runtime.team_id, actor="unknown", face="web", room="", command=command,
        arguments={"refused": "no valid sign-in", "address": hashed},
    )  # fmt: skip
    await runtime.database.run(lambda tx: audits.record(tx, runtime.clock(), entry))
