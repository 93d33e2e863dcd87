"""Slack workspaces that installed the app by themselves: each one's token, sealed."""

from sqlalchemy.ext.asyncio import AsyncConnection

from storage.catalogue import teams
from storage.db.secrets import Box


async def token(tx: AsyncConnection, box: Box, workspace: str) -> str | None:
    """The workspace's own token; None if it did not install the app by itself."""
    sealed = await teams.fact(tx, _fact(workspace)) if workspace else None
    return None if sealed is None else str(box.open(sealed)["token"])


async def keep(tx: AsyncConnection, box: Box, workspace: str, token: str) -> None:
    await teams.store_fact(tx, _fact(workspace), box.seal({"token": token}))


async def forget(tx: AsyncConnection, workspace: str) -> None:
    """The app was removed there."""
    await teams.drop_fact(tx, _fact(workspace))


def _fact(workspace: str) -> str:
    return f"slack_installation:{workspace}"
