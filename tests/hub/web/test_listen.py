"""A uvicorn whose inside has changed never stops the hub: its public server answers clicks, postbacks and pages."""

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bot.core.command import parse, run
from hub.cli.shell_context import shell_context
from hub.runtime.settings import read_settings
from hub.web.app import Hub, create_app
from hub.web.connection import Connection
from hub.web.listen import PlainListener, listen
from tests.waiting import free_port


def _changed(*_: Any) -> None:
    raise AttributeError("it has no such name")


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "as it is": lambda _: None,
    "no module": lambda patch: patch.setitem(sys.modules, "hub.web.listener", None),
    "a click is not answered": lambda patch: patch.setattr(Connection, "_answer", lambda *_: None),
    "a request fails inside": lambda patch: patch.setattr(Connection, "_respond_by_uvicorn", _changed),
    "its cycle has another form": lambda patch: patch.setattr(Connection, "_start_asgi_task", _changed),
    "it takes other arguments": lambda patch: patch.setattr(Connection, "__init__", HttpToolsProtocol.connection_lost),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_clicks_postbacks_and_pages_are_served(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    CHANGES[change](monkeypatch)
    port = free_port()
    app = create_app(read_settings({
        "CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'casinoflux.db'}",
        "CASINOFLUX_SECRET_KEY": "a-secret-key-of-a-test",
        "CASINOFLUX_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }, tmp_path), only="hub")  # fmt: skip
    async with app.lifespan():
        assert "loop lag" not in {thread.name for thread in threading.enumerate()}, "no request waits for the loop yet"
        link, postback = await set_up(app)
        with caplog.at_level(logging.WARNING):
            serving = await listen(app, host="127.0.0.1", port=port)
        async with httpx.AsyncClient(timeout=60) as client:
            page = await client.get(f"http://127.0.0.1:{port}/healthz")
            click = await client.get(link)
            answer = await client.post(postback, data={"click_id": "none", "event": "registration"})
            java = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAA"}
            upgrading = await client.post(postback, data={"click_id": "none", "event": "registration"}, headers=java)
        await serving.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert page.json() == {"status": "ok"}
    assert (click.status_code, click.headers["cache-control"]) == (302, "no-store")
    assert answer.json()["outcome"] == upgrading.json()["outcome"] == "unmatched"
    assert ("its own server is used" in caplog.text) == (change != "as it is")
    assert isinstance(serving, PlainListener) == (change != "as it is")


async def set_up(app: Hub) -> tuple[str, str]:
    """A campaign's tracking link and an account's postback address."""
    for text in (
        "account add platform=postback_only name=acme",
        "offer add casino=Lucky account=acme url=https://casino.example.test/?s={click_id}",
    ):
        await said(app, text)
    campaign = await said(app, "campaign create name=spring offers=lucky direct=true")
    return str(campaign.url), str((await said(app, "postback url acme")).url).partition("?")[0]


async def said(app: Hub, text: str) -> Any:
    command, arguments = parse(text)
    return (await run(command, arguments, shell_context(app.runtime))).result
