"""What an archived entity is: put away with all its figures, out of lists, until it is restored."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from storage.catalogue.groups import ARCHIVED
from storage.ledger.errors import Refused


def refuse_archived(noun: str, rows: Sequence[Row[Any]]) -> None:
    """Raises Refused where one is archived: its status is not changed until it is restored."""
    archived = [row.code for row in rows if row.archived_from is not None]
    if archived:
        raise Refused(f"{noun} {archived[0]} is archived: {noun} restore {archived[0]}", field=noun)


def opposite(noun: str, status: str) -> tuple[str, str]:
    """Label and command of the button that changes a status: of an archived one, of a paused one, of a running one."""
    verb = {ARCHIVED: "restore", "paused": "resume"}.get(status, "pause")
    return verb.capitalize(), f"{noun} {verb}"
