"""A granian whose inside has changed never stops the hub: its public server answers clicks, postbacks and pages."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from granian import _granian

from bot.core.command import parse, run
from hub.cli.shell_context import shell_context
from hub.runtime.settings import read_settings
from hub.web import listener
from hub.web.app import Hub, create_app
from hub.web.listener import Listener
from tests.waiting import free_port

_native: Any = _granian


CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "as it is": lambda _: None,
    "no module": lambda patch: patch.setattr(listener, "_native", None),
    "no scheduler": lambda patch: patch.setattr(listener, "_native", SimpleNamespace(ASGIWorker=_native.ASGIWorker)),
    "other arguments": lambda patch: patch.setattr(
        listener, "_native", SimpleNamespace(ASGIWorker=lambda: None, CallbackScheduler=_native.CallbackScheduler)
    ),
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
        link, postback = await set_up(app)
        serving = Listener(app, host="127.0.0.1", port=port)
        running = asyncio.create_task(serving.serve())
        with caplog.at_level(logging.WARNING):
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=20), timeout=60) as client:
                page = await answered(client, f"http://127.0.0.1:{port}/healthz")
                click = await client.get(link)
                answer = await client.get(postback, params={"click_id": "none", "event": "registration"})
        serving.stop()
        await asyncio.wait({running}, timeout=60)
        assert running.done()
    assert page.json() == {"status": "ok"}
    assert (click.status_code, click.headers["cache-control"]) == (302, "no-store")
    assert answer.json()["outcome"] == "unmatched"
    assert ("its own server is used" in caplog.text) == (change != "as it is")


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


async def answered(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """The answer, once there is one: the first request may meet the server that gives up."""
    while True:
        try:
            return await client.get(url, timeout=60)
        except httpx.TransportError:
            await asyncio.sleep(0.05)
