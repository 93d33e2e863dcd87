"""What each word of the command line does. Each returns its exit code."""

import argparse
import base64
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import make_url

import bot.commands  # noqa: F401  registers every command
from bot.chat.session import ChatSessions, carry_out
from bot.core.arguments import field_names, file_fields, fill
from bot.core.command import Command, parse, parse_words, run
from bot.core.context import Room
from bot.core.message import File, Message, error
from bot.render import terminal
from bot.render.report_csv import csv_of
from hub.cli import supervisor
from hub.cli.shell_context import agent_context, shell_context
from hub.runtime import boot, offline_start, process_tuning
from hub.runtime.helper_process import HelperProcess
from hub.runtime.left_out_modules import let_pydantic_in
from hub.runtime.logs import quiet_logs
from hub.runtime.ports import HubPorts
from hub.runtime.runtime import Runtime
from hub.runtime.settings import Settings, database_url, keep_key, key_is_set, read_settings, unknown_settings, with_key
from storage.catalogue import teams
from storage.clicks import rollup_check
from storage.db import backup, replacement, rotation, transfer
from storage.db.database_url import sqlite_file
from storage.db.engine import Database
from storage.db.schema import HEAD, current, is_older, upgrade
from storage.db.secrets import Box, secret_keys
from storage.ledger.errors import Refused
from storage.ledger.facts import Role


async def serve(arguments: argparse.Namespace) -> int:
    from hub.web import server, sockets

    quiet_logs()
    process_tuning.few_arenas()
    process_tuning.leave_sqlite_memory_uncounted()
    settings = read_settings()
    for warning in unknown_settings():
        sys.stderr.write(f"casinoflux: {warning}\n")
    if (fault := _unfit_for_sqlite(arguments, settings.database_url)) is not None:
        sys.stderr.write(f"casinoflux: {fault}\n")
        return 2
    if arguments.child:
        supervisor.die_with_parent()
    elif arguments.only not in {"jobs", "bots"}:
        server.check_port(arguments.host, arguments.port)
        sockets.check_files()
    away = await _away(settings)
    if not away:
        await boot.check_stored(settings)
    if arguments.workers > 1 and not arguments.only:
        if not away:
            await boot.upgrade_in_other_process(settings)
        return await supervisor.supervise(host=arguments.host, port=arguments.port, workers=arguments.workers)
    await server.serve(
        settings, host=arguments.host, port=arguments.port, only=arguments.only, announce=not arguments.child,
        away=away,
    )  # fmt: skip
    return 0


async def _away(settings: Settings) -> bool:
    """Whether the database is unavailable and there are plans to start from. Raises SettingError without those."""
    try:
        await boot.reach(settings.database_url)
    except boot.DatabaseUnreachable:
        if (found := offline_start.snapshot_of(settings)) is None:
            raise
        await found.close()
        return True
    return False


def _unfit_for_sqlite(arguments: argparse.Namespace, url: str) -> str | None:
    """On SQLite `serve` is one process."""
    if make_url(url).get_backend_name() != "sqlite" or (arguments.workers == 1 and not arguments.only):
        return None
    option = f"--only {arguments.only}" if arguments.only else f"--workers {arguments.workers}"
    return (
        f"{option} needs PostgreSQL: on SQLite one process does it all. Leave it out, or set "
        "CASINOFLUX_DATABASE_URL to postgresql://user:password@host/name (casinoflux db transfer copies everything)"
    )


async def demo(arguments: argparse.Namespace) -> int:
    from hub.cli import demo as show

    quiet_logs()
    return await show.run(stay=not arguments.exit)


async def run_command(arguments: argparse.Namespace) -> int:
    """One bot command, as owner of the first team or the one named. 2 when the words cannot be understood."""
    words = [word for word in arguments.words if word not in {"--json", "--csv"}]
    in_csv = arguments.csv or "--csv" in arguments.words
    quiet_logs()
    async with _runtime(arguments.team) as runtime:
        ctx = shell_context(runtime)
        try:
            parsed = parse(words[0]) if len(words) == 1 else parse_words([read_word(word) for word in words])
            command, fields = parsed
            _read_files(command, fields)
            if in_csv and "format" in field_names(command.parameters):
                fields["format"] = "csv"
            fill(command.parameters, fields, ctx.today)
        except Refused as error:
            sys.stderr.write(f"casinoflux: {error}\n")
            return 2
        answer = await run(command, fields, ctx)
        if arguments.json or "--json" in arguments.words:
            print(msgspec.json.format(msgspec.json.encode(answer.result), indent=2).decode())
        elif in_csv:
            if (table := csv_of(answer.message)) is None:
                sys.stderr.write(f"casinoflux: {command.name} has no table to print as CSV\n")
                return 2
            sys.stdout.write(table)
        else:
            print(terminal.render(answer.message))
            _save_files(answer.message)
    return 0


def _save_files(message: Message) -> None:
    """Files that are no text are written beside where one stands; one of that name is left alone."""
    for block in message.blocks:
        if isinstance(block, File) and block.binary:
            path = Path(block.name)
            if path.exists():
                sys.stderr.write(f"casinoflux: {path} is there already: move it away first\n")
                continue
            path.write_bytes(block.binary)
            print(f"written to {path}")


async def chat(arguments: argparse.Namespace) -> int:
    quiet_logs()
    async with _runtime(arguments.team) as runtime:
        sessions = ChatSessions(
            database=runtime.database, deployment=lambda: runtime.deployment, ports=runtime.ports, box=runtime.box,
            clock=runtime.clock, reports=runtime.reports,
        )  # fmt: skip
        ctx = shell_context(runtime)

        async def answer(text: str) -> Message:
            try:
                command, arguments = parse(text)
            except Refused as fault:
                return error(str(fault))
            room = Room(face="terminal", room="shell")
            return (await carry_out(sessions, room, ctx.actor, command, arguments)).message

        await terminal.chat(answer)
    return 0


async def mcp(arguments: argparse.Namespace) -> int:
    """Answer an agent over standard input and output, until the input ends."""
    let_pydantic_in()
    try:
        from mcp.server.stdio import stdio_server

        from bot.agents import new_server
    except ModuleNotFoundError:
        sys.stderr.write("casinoflux: the agents' part is not installed: pip install 'casinoflux[mcp]'\n")
        return 1
    quiet_logs(sys.stderr)  # standard output is the agent's
    role = Role(arguments.role)
    async with _runtime(arguments.team) as runtime, stdio_server() as (read, write):
        server = new_server(lambda: agent_context(runtime, role))
        await server.run(read, write, server.create_initialization_options())
    return 0


async def team_create(arguments: argparse.Namespace) -> int:
    async with _runtime() as runtime, runtime.database.begin() as tx:
        team = await teams.add(tx, arguments.name, runtime.clock())
    print(
        f"team {team.name} has the code {team.code}; its first owner joins by what this prints: "
        f"casinoflux run --team {team.code} member invite role=owner"
    )
    return 0


async def team_list(_arguments: argparse.Namespace) -> int:
    async with _runtime() as runtime, runtime.database.read() as tx:
        for team in await teams.listed(tx):
            print(f"{team.code}\t{team.name}\tsince {team.created_at:%Y-%m-%d}")
    return 0


async def team_rename(arguments: argparse.Namespace) -> int:
    async with _runtime() as runtime, runtime.database.begin() as tx:
        team = await teams.rename(tx, arguments.team, arguments.name)
    print(f"team {team.code} is called {team.name} now")
    return 0


async def doctor(arguments: argparse.Namespace) -> int:
    """1 when something is wrong."""
    from hub.cli import doctor as checking

    quiet_logs()
    checks = await checking.run()
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode({"items": checks}), indent=2).decode())
    else:
        for check in checks:
            fix = f": {check.fix}" if check.fix else ""
            print(f"{'ok   ' if check.ok else 'FAULT'} {check.name}: {check.finding}{fix}")
    return 0 if all(check.ok for check in checks) else 1


async def db_upgrade(arguments: argparse.Namespace) -> int:
    if arguments.check:
        return await _upgrade_needed()
    async with _database():
        pass
    print("the database is at this version's schema")
    return 0


async def _upgrade_needed() -> int:
    """0 when the schema is this version's; 1, and nothing is changed, when `db upgrade` has work to do."""
    revision = await _revision(read_settings().database_url)
    if revision == HEAD:
        print(f"the database is at this version's schema ({HEAD})")
        return 0
    fix = "run casinoflux db upgrade" if is_older(revision) else "it is a newer version's: install that one"
    print(f"the database is at schema {revision or 'none'}, this version's is {HEAD}: {fix}")
    return 1


async def _revision(url: str) -> str | None:
    if (file := sqlite_file(url)) is not None and not file.exists():  # to open it would make it
        return None
    await boot.reach(url)
    database = Database(url)
    try:
        return await current(database)
    finally:
        await database.close()


async def db_check(_arguments: argparse.Namespace) -> int:
    """1 when a roll-up differs from its raw clicks."""
    from hub.jobs.scheduler import Jobs  # the other commands start faster without the jobs
    from hub.jobs.timetable import TIMETABLE

    async with _runtime() as runtime:
        await Jobs(runtime, TIMETABLE).run_once("settle")  # a running hub has the lease, and settles each second
        differences = await rollup_check.check(runtime.database)
    for line in differences:
        print(line)
    print(f"{len(differences)} differences" if differences else "roll-ups agree with the raw clicks")
    return 1 if differences else 0


async def db_backup(arguments: argparse.Namespace) -> int:
    async with _database() as database:
        rows = await backup.backup(database, Path(arguments.file))
    print(f"{rows} rows written to {arguments.file}; keep CASINOFLUX_SECRET_KEY with it, or credentials are lost")
    return 0


async def db_restore(arguments: argparse.Namespace) -> int:
    async with _database() as database:
        if arguments.replace:
            live = replacement.replaceable(database)
        else:
            rows = await backup.restore(database, Path(arguments.file))
    if arguments.replace:
        rows, aside = await replacement.replace(live, Path(arguments.file), now=datetime.now(UTC))
        print(f"what was there is kept in {aside}")
    print(f"{rows} rows restored")
    return 0


async def db_transfer(arguments: argparse.Namespace) -> int:
    from hub.cli.transfer import to_postgresql

    url = database_url("db transfer", arguments.url)
    await boot.reach(url, "db transfer")
    async with _database() as database:
        print(await to_postgresql(database, url))
    return 0


async def keys_rotate(_arguments: argparse.Namespace) -> int:
    """Seal all stored credentials under the newest key, and with no old key left, make a new one first.

    A hub that runs goes on with the key it started with: the old one is dropped by the next run, after a restart.
    """
    settings = read_settings()
    await boot.reach(settings.database_url)
    if not await _opens_stored(settings):
        return await _seal_again(settings.database_url, secret_keys(with_key(settings).secret_key))
    settings = with_key(settings)
    keys = secret_keys(settings.secret_key)
    begins = len(keys) == 1
    if begins:
        fresh = secrets.token_hex(32)
        keys = [fresh, *keys]
        if key_is_set() or not keep_key(settings.database_url, ",".join(keys)):
            print("CASINOFLUX_SECRET_KEY holds one key. Put a new one before it, restart, and run this again:")
            print(f"CASINOFLUX_SECRET_KEY={fresh},<the key it holds now>")
            return 1
    if code := await _seal_again(settings.database_url, keys):
        return code
    if key_is_set():
        print("Restart the hub if it has not the new key yet; then leave the old ones out of CASINOFLUX_SECRET_KEY.")
    elif begins:
        print("Restart the hub now, and run this again: the old key is dropped then.")
    elif keep_key(settings.database_url, keys[0]):
        print("The old key is dropped. Backups from before need it: keep it with them.")
    return 0


async def _opens_stored(settings: Settings) -> bool:
    """Whether the secret key is the database's; if not, that one is lost, and this one takes its place."""
    async with _database() as database, database.read() as tx:
        return await boot.opens(tx, settings.secret_key)


async def _seal_again(url: str, keys: list[str]) -> int:
    """Seal what any of the keys opens under the newest, which is the database's from then on; 1 if some was not."""
    database = Database(url)
    try:
        async with database.begin() as tx:
            await boot.keep_key_check(tx, Box(keys[0]))
            rotated = await rotation.rotate(tx, Box(",".join(keys)))
    finally:
        await database.close()
    print(f"{rotated.sealed} secrets are sealed under the new key")
    for place in rotated.unreadable:
        sys.stderr.write(f"casinoflux: no key opens a secret of {place}: set it again\n")
    return 1 if rotated.unreadable else 0


def _read_files(command: Command, arguments: dict[str, Any]) -> None:
    """Put the content of a file where a field that takes one names its path. Raises Refused."""
    for name in file_fields(command.parameters):
        path = arguments.get(name)
        if not isinstance(path, str):
            continue
        try:
            arguments[name] = Path(path).read_bytes()
        except OSError as error:
            with contextlib.suppress(ValueError):
                arguments[name] = base64.b64decode(path, validate=True)
                continue
            raise Refused(f"{name}: {path[:200]!r} cannot be read ({error.strerror})", field=name) from None


def read_word(word: str) -> tuple[str | None, str]:
    """A word of a command line: the name of its field, if it has one, and the value."""
    name, equals, value = word.partition("=")
    if equals and name.replace("_", "").replace("-", "").isalnum() and not name[0].isdigit():
        return name.lower().replace("-", "_"), value
    return None, word


@asynccontextmanager
async def _runtime(team: str | None = None) -> AsyncIterator[Runtime]:
    """A prepared runtime that speaks for the team of that code; the deployment's first one without."""
    settings = read_settings()
    await boot.reach(settings.database_url)
    await boot.check_stored(settings)
    helper = HelperProcess(seconds=settings.limit_seconds)
    runtime = boot.new_runtime(settings, HubPorts(settings, helper))
    try:
        await boot.prepare(runtime)
        if team is not None:
            async with runtime.database.read() as tx:
                runtime.team_id = (await teams.find(tx, team)).id
        yield runtime
    finally:
        helper.close()
        await runtime.close()


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    settings = read_settings()
    await boot.reach(settings.database_url)
    database = Database(settings.database_url)
    try:
        await upgrade(database)
        if path := database.file.path:
            transfer.clear_left_over(path)
        yield database
    finally:
        await database.close()
