"""Debian's headless Chromium, driven over its DevTools protocol; a visitor with a real browser."""

import asyncio
import base64
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "no Chromium on this machine: apt-get install chromium"


class Tab:
    """A page. `say` sends a protocol command and returns its result."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.told: list[dict[str, Any]] = []  # events so far

    async def say(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=120)
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self.told.append(message)

    async def run(self, script: str) -> Any:
        """What a script gives in the page."""
        outcome = await self.say("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in outcome, outcome["exceptionDetails"]
        return outcome["result"].get("value")

    async def open(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Go to an address and wait until all of it is there."""
        await self.say("Page.enable")
        await self.say("Log.enable")
        scheme = "dark" if dark else "light"
        await self.say("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.say(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 700
        )
        await self.say("Page.navigate", url=url)
        for _ in range(2400):
            if await self.run("document.readyState == 'complete' && location.href != 'about:blank'"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{url} did not load")

    async def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        outcome = await self.say("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(outcome["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged: blocked scripts and styles, failed requests."""
        entries = [item["params"]["entry"] for item in self.told if item.get("method") == "Log.entryAdded"]
        return [
            f"{entry['text']} {entry.get('url', '')}" for entry in entries if entry["level"] in {"error", "warning"}
        ]


@asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """A fresh browser with one tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
            f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port = await _port(Path(folder))
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    pages = [item for item in await answer.json() if item["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
            await process.wait()


async def _port(folder: Path) -> int:
    answer = folder / "DevToolsActivePort"
    for _ in range(1200):
        if answer.is_file() and (lines := answer.read_text().splitlines()):
            return int(lines[0])
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start within two minutes")
