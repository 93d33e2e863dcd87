"""The audit trail: who changed what, where, from what to what."""

from bot.core.arguments import Arguments
from bot.core.command import command
from bot.core.context import Context
from bot.core.listing import Page
from bot.core.message import Message, Table
from storage.catalogue.entities import MAX_PAGE, cursor
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.people import audits
from storage.people.audits import Recorded


class AuditPage(Arguments):
    limit: int = 20
    after: str | None = None


def audit_table(ctx: Context, page: Page[Recorded]) -> Message:
    if not page.items:
        return Message("Nothing has been changed yet", private=True)
    rows = tuple(
        (f"{entry.at.astimezone(ctx.deployment.zone):%Y-%m-%d %H:%M}", entry.actor, entry.command, _words(entry))
        for entry in page.items
    )
    return Message("Audit", (Table(("When", "Who", "What", "With"), rows),), private=True)


def _words(entry: Recorded) -> str:
    return " ".join(f"{name}={value}" for name, value in entry.arguments.items())[:120]


@command("audit", role=Role.OWNER, render=audit_table, reads=True, aliases=("audit list",))
async def list_audit(ctx: Context, new: AuditPage) -> Page[Recorded]:
    """Every change, latest first."""
    if not 1 <= new.limit <= MAX_PAGE:
        raise Refused(f"limit: between 1 and {MAX_PAGE}", field="limit")
    rows = await audits.page(ctx.tx, ctx.team_id, limit=new.limit + 1, after=cursor(new.after))
    shown = rows[: new.limit]
    return Page(shown, str(shown[-1].id) if len(rows) > new.limit else None)
