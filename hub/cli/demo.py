"""`casinoflux demo`: the whole lifecycle, for real, in a scratch folder, shown as in a chat."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bot.core.command import parse
from bot.core.command import run as run_one
from bot.render import terminal
from hub.cli.demo_history import History
from hub.cli.demo_traffic import Visitors
from hub.cli.shell_context import shell_context
from hub.runtime import boot
from hub.runtime.runtime import Runtime
from hub.runtime.settings import read_settings
from storage.ledger.errors import CasinoFluxError

DAY = 86_400
SHOW_EVERY = 10.0  # seconds between two lines that say what is waited for
LONGEST = 900.0  # seconds


class DemoFailed(CasinoFluxError):
    """A step did not do what it should."""


async def run(*, stay: bool) -> int:
    """Show everything; stay up afterwards if asked. 1 if any step failed. SIGTERM ends it as Ctrl-C does."""
    if (running := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        return await _show(stay=stay)
    except asyncio.CancelledError:
        return 0


async def _show(*, stay: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="casinoflux-demo-") as folder:
        async with AsyncExitStack() as stack:
            try:
                show = Demo(Path(folder), stack)
                await show.lifecycle()
            except (CasinoFluxError, httpx.HTTPError, OSError) as error:
                sys.stderr.write(f"casinoflux: the demo failed: {error or type(error).__name__}\n")
                return 1
            if stay:
                await show.stay()
    return 0


class Demo:
    """One run: its folder, ports and processes."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._port = free_port()
        self._hub = AsyncExitStack()
        self._serving: Any = None
        self.url = f"http://127.0.0.1:{self._port}"

    async def lifecycle(self) -> None:
        """Every step in order; each raises when it fails."""
        tell("CasinoFlux demo: a casino platform, a traffic source and the hub, each its own process on loopback.")
        platform = await self._stack.enter_async_context(standin("affilka", self._folder))
        source = await self._stack.enter_async_context(standin("traffic_source", self._folder))
        self._stack.push_async_callback(self._stop_hub)
        await self._write_history()
        await self._start_hub(days_ago=1)
        async with self._shell(days_ago=1) as run:
            await self._set_up(run, platform, source)
            link = str((await run("campaign link spring-push"))["url"])
            address = str((await run("postback url affilka-main"))["url"])
            await self._traffic(link, address, source)
        await self._a_day_later(platform)
        async with self._shell() as run:
            await self._revenue(run)
        async with self._shell() as run:
            answer = await run("stats yesterday by campaign")
            check(bool(answer.get("rows")), "the report has no rows")
            await run("digest preview")
            link = str((await run("campaign link alpine-native"))["url"])
            async with Visitors(link, "") as visitors:
                await visitors.click(25)
            await run("cockpit")
        tell(f"Up and running: hub {self.url} · platform {platform} · traffic source {source}")
        tell(f"Offer wall {self.url}/s/lucky-guide · health {self.url}/readyz · API {self.url}/schema/openapi.json")

    async def stay(self) -> None:
        tell("Press Ctrl-C to stop; the scratch folder goes with it.")
        await asyncio.Event().wait()

    async def _write_history(self) -> None:
        tell("The team's last 30 days are written: three accounts, two traffic sources, an A/B test, a held report …")
        runtime = boot.new_runtime(read_settings(self._environment(1), folder=self._folder))
        try:
            await boot.prepare(runtime)
            await History(runtime, self._folder).write()
        finally:
            await runtime.database.close()

    async def _set_up(self, run: Any, platform: str, source: str) -> None:
        tell("A deal is recorded, a site and a tracked campaign made — all by chat commands:")
        await run(
            f"account add platform=affilka name=affilka-main base_url={platform} token=demo-statistic-token "
            "timezone=Europe/Malta currency=EUR"
        )
        await run(
            'offer add casino="Lucky Star" account=affilka-main tag=spring markets=DE,AT '
            'url="https://lucky-star.example.test/land?sub={click_id}" deal="CPA 120 EUR + 25 % rev share"'
        )
        await run(
            'casino edit casino=lucky-star bonus="100 % up to 500 €" free_spins=200 payment_methods=Visa,Skrill,USDT '
            'licence="MGA/B2C/000/2026" terms_url=https://lucky-star.example.test/terms'
        )
        await run("casino review casino=lucky-star")
        await run('site create name="Lucky Guide" market=DE locale=en theme=offer-wall offers=lucky-star-spring')
        await run("site publish lucky-guide")
        await run(
            f'source add name=PushNet preset=custom registration="{source}/conversion?cid={{source_click_id}}&e=reg" '
            f'first_deposit="{source}/conversion?cid={{source_click_id}}&e=ftd&payout={{payout}}"'
        )
        await run(
            'campaign create name="Spring Push" site=lucky-guide offers=lucky-star-spring source=pushnet '
            "cost_model=link currency=EUR"
        )

    async def _traffic(self, link: str, postback: str, source: str) -> None:
        await asyncio.sleep(1)  # the hub is another process: it takes changes in within a second
        tell("Players click; the landing page sends them on; the casino calls back:")
        async with Visitors(link, postback.partition("?")[0]) as visitors:
            clicked = await visitors.click(60)
            onward = await visitors.go_on(40)
            accepted = await visitors.convert(registrations=12, first_deposits=5)
        tell(f"  {clicked} clicks redirected, {onward} went on to the casino, {accepted} postbacks accepted")
        check(accepted == 17, f"only {accepted} of 17 postbacks were accepted")
        received = await self._poll(lambda: _received(source), lambda n: n >= 17, "conversions at the traffic source")
        tell(f"  {received} conversions passed on to the traffic source")

    async def _a_day_later(self, platform: str) -> None:
        tell("… a day later (the hub is stopped and started again with tomorrow's clock):")
        await self._stop_hub()
        yesterday = boot.shifted_clock(0)().date() - timedelta(days=1)
        figures = {"campaign": "spring", "day": yesterday.isoformat(), "visits_count": 41, "registrations_count": 12,
                   "first_deposits_count": 4, "deposits_count": 7, "deposits_sum": "910.00", "ngr": "-35.50",
                   "partner_income": "471.10"}  # fmt: skip
        async with httpx.AsyncClient() as client:
            (await client.post(f"{platform}/_control/figures", json=figures)).raise_for_status()
        await self._start_hub()

    async def _revenue(self, run: Any) -> None:
        await run("sync now affilka-main")

        async def state() -> Any:
            async with self._shell(quiet=True) as run:
                items = (await run("sync status"))["items"]
                return next(item for item in items if item["account"] == "affilka-main")

        done = await self._poll(state, lambda status: status["state"] == "idle" and bool(status["rows"]), "the sync")
        tell(f"  {done['rows']} rows of revenue synced")
        await asyncio.sleep(2)

    async def _start_hub(self, *, days_ago: int = 0) -> None:
        self._hub = AsyncExitStack()
        environment = os.environ | self._environment(days_ago)
        command = [sys.executable, "-m", "hub", "serve", "--port", str(self._port)]
        self._serving = await self._hub.enter_async_context(process(command, environment, self._folder))
        await self._poll(lambda: _ready(self.url), bool, "the hub")

    async def _stop_hub(self) -> None:
        await self._hub.aclose()

    async def _poll(self, ask: Any, done: Any, what: str) -> Any:
        """Ask until it is done, for as long as the hub runs. Raises DemoFailed when it has ended."""
        return await poll(ask, done, what, lambda: self._serving.returncode is None)

    def _environment(self, days_ago: int) -> dict[str, str]:
        return {
            "CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{self._folder / 'casinoflux.db'}",
            "CASINOFLUX_PUBLIC_URL": self.url,
            "CASINOFLUX_ALLOW_PRIVATE_HOSTS": "1",
            "CASINOFLUX_TRUSTED_PROXIES": "127.0.0.1",
            "CASINOFLUX_CLOCK_OFFSET": str(-DAY * days_ago),
        }

    @asynccontextmanager
    async def _shell(self, *, days_ago: int = 0, quiet: bool = False) -> AsyncIterator[Any]:
        runtime = boot.new_runtime(read_settings(self._environment(days_ago), folder=self._folder))
        try:
            await boot.prepare(runtime)
            yield lambda text: spoken(runtime, text, quiet=quiet)
        finally:
            await runtime.database.close()


async def spoken(runtime: Runtime, text: str, *, quiet: bool) -> Any:
    """Run a command as the shell does, print it as a chat shows it, return its result as JSON."""
    command, arguments = parse(text)
    answer = await run_one(command, arguments, shell_context(runtime))
    if not quiet:
        shown = text if len(text) < 200 else text[:197] + "…"
        print(f"\n› {shown}\n" + terminal.render(answer.message))
    return msgspec.json.decode(msgspec.json.encode(answer.result))


def tell(text: str) -> None:
    print(f"\n{text}" if not text.startswith(" ") else text, flush=True)


def check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoFailed(otherwise)


async def poll(ask: Any, done: Any, what: str, runs: Callable[[], bool]) -> Any:
    """Ask until it is done, while the process `runs`, and show that we wait. Raises DemoFailed.

    A busy machine may take minutes; one that takes LONGEST is given up.
    """
    loop = asyncio.get_running_loop()
    began = shown = loop.time()
    while loop.time() - began < LONGEST:
        answer = await ask()
        if done(answer):
            return answer
        if not runs():
            raise DemoFailed(f"the hub has ended while the demo waited for {what}: see its messages above")
        if loop.time() - shown > SHOW_EVERY:
            shown = loop.time()
            tell(f"  … still waiting for {what} ({shown - began:.0f} s)")
        await asyncio.sleep(0.2)
    raise DemoFailed(f"{what} did not come within {LONGEST:g} seconds")


async def _received(source: str) -> int:
    async with httpx.AsyncClient() as client:
        return len((await client.get(f"{source}/_control/received", timeout=60)).json()["items"])


async def _ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def standin(name: str, folder: Path) -> AsyncIterator[str]:
    """Start a stand-in server; yields its address."""
    command = [sys.executable, "-m", f"hub.cli.standins.{name}", "--port", "0"]
    async with process(command, dict(os.environ), folder) as child:
        line = await child.stdout.readline()  # empty when it has ended
        check(bool(line), f"the stand-in {name} did not start: see its messages above")
        yield f"http://127.0.0.1:{msgspec.json.decode(line)['port']}"


@asynccontextmanager
async def process(command: list[str], environment: dict[str, str], folder: Path) -> AsyncIterator[Any]:
    child = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), 20)
        except TimeoutError:
            child.kill()
            await child.wait()
