"""`casinoflux serve | demo | doctor | run | chat | mcp | db …`; `python -m hub` is the same."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

from hub.runtime import left_out_modules

left_out_modules.leave_out()

from sqlalchemy.exc import DBAPIError  # noqa: E402

from hub.cli import cli  # noqa: E402
from storage.db.unavailable import is_full, is_unavailable, plain_words  # noqa: E402
from storage.ledger.errors import CasinoFluxError  # noqa: E402
from storage.ledger.facts import Role  # noqa: E402


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 misunderstood. Errors are one line on stderr that says what to do."""
    arguments = parser().parse_args()
    try:
        code = run(arguments.work(arguments))
    except BaseExceptionGroup as group:  # what a start in several tasks raises
        fault = next(filter(None, map(fault_of, _leaves(group))), None)
        if fault is None:
            raise
        code = print_fault(fault)
    except KeyboardInterrupt:
        code = 0
    except BrokenPipeError:  # whoever read the output has seen enough: `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (CasinoFluxError, DBAPIError, sqlite3.Error, OSError) as error:
        if (fault := fault_of(error)) is None:
            raise
        code = print_fault(fault)
    raise SystemExit(code)


def print_fault(error: str) -> int:
    """One line on stderr; the exit code."""
    sys.stderr.write(f"casinoflux: {' '.join(error.split())}\n")
    return 1


def fault_of(error: BaseException) -> str | None:
    """What to do about what stopped the command; None if it is a fault of ours."""
    if isinstance(error, CasinoFluxError):
        return str(error)
    cause = getattr(error, "orig", error)
    if is_full(error):
        return "the disk is full: make room where the database is, then start again"
    if isinstance(error, OSError) or not is_unavailable(error):
        return None
    why = plain_words(error) or str(cause).partition("\n")[0][:200]
    return f"the database cannot be used ({why}): see CASINOFLUX_DATABASE_URL"


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for exception in group.exceptions:
        if isinstance(exception, BaseExceptionGroup):
            yield from _leaves(exception)
        else:
            yield exception


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop: twice the requests of the standard loop."""
    import uvloop

    return uvloop.run(work)


class ArgumentParser(argparse.ArgumentParser):
    """Says what it did not understand in one line."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message} ({self.prog} --help tells more)\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    top = ArgumentParser(prog="casinoflux", description="Self-hosted campaign cockpit for iGaming affiliates")
    words = top.add_subparsers(required=True, metavar="serve | demo | doctor | run | chat | mcp | team | db | keys")
    serve = _add(words, "serve", cli.serve, "run the hub: clicks, postbacks, sync, chats, API")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=_port, default=8000)
    serve.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that take requests")
    serve.add_argument("--only", choices=("hub", "jobs", "bots"), help="run one part in this process")
    serve.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    demo = _add(words, "demo", cli.demo, "show the whole product at work, in a scratch folder")
    demo.add_argument("--exit", action="store_true", help="stop at the end; 1 if any step failed")
    doctor = _add(
        words, "doctor", cli.doctor, "check settings, database, clock, disk, address and chats; 1 if one fails"
    )
    doctor.add_argument("--json", action="store_true", help="print the checks as JSON")
    run_parser = _add(words, "run", cli.run_command, "run one bot command as owner")
    run_parser.add_argument("--team", metavar="CODE", help="speak for this team; default: the first")
    run_parser.add_argument("--json", action="store_true", help="print the struct; may also stand at the end")
    run_parser.add_argument("--csv", action="store_true", help="print nothing but the CSV; may also stand at the end")
    run_parser.add_argument(
        "words", nargs=argparse.REMAINDER, help="offer list, stats 7d by campaign … (--json: the struct)"
    )
    talk = _add(words, "chat", cli.chat, "talk to the bot in this terminal")
    talk.add_argument("--team", metavar="CODE", help="speak for this team; default: the first")
    agents = _add(words, "mcp", cli.mcp, "the commands as tools for an agent, over standard input and output (MCP)")
    agents.add_argument("--team", metavar="CODE", help="speak for this team; default: the first")
    agents.add_argument(
        "--role", choices=[role.value for role in Role], default=Role.OWNER.value, help="what it may do"
    )
    team = words.add_parser("team", help="create, list or rename teams: the operator's, here only")
    kinds = team.add_subparsers(required=True, metavar="create | list | rename")
    _add(kinds, "create", cli.team_create, "a new team; everything belongs to one").add_argument("name")
    _add(kinds, "list", cli.team_list, "all teams with their codes")
    rename = _add(kinds, "rename", cli.team_rename, "another name; the code stays")
    rename.add_argument("team", help="its code")
    rename.add_argument("name", help="its new name")
    database = words.add_parser("db", help="upgrade, check, backup, restore or transfer the database")
    verbs = database.add_subparsers(required=True, metavar="upgrade | check | backup | restore | transfer")
    upgrade = _add(verbs, "upgrade", cli.db_upgrade, "bring the schema to this version")
    upgrade.add_argument("--check", action="store_true", help="change nothing; 1 if there is something to upgrade")
    _add(verbs, "check", cli.db_check, "recount the roll-ups from the raw clicks and report any difference")
    _add(verbs, "backup", cli.db_backup, "write everything to a file").add_argument("file")
    restore = _add(verbs, "restore", cli.db_restore, "fill an empty database from a backup")
    restore.add_argument("file")
    restore.add_argument(
        "--replace", action="store_true", help="put it in the place of what is there (SQLite), beside a running hub"
    )
    transfer = "move everything from SQLite to an empty PostgreSQL, beside a running hub"
    _add(verbs, "transfer", cli.db_transfer, transfer, other_name="port").add_argument("url")
    keys = words.add_parser("keys", help="rotate the key that stored credentials are encrypted with")
    key_verbs = keys.add_subparsers(required=True, metavar="rotate")
    _add(key_verbs, "rotate", cli.keys_rotate, "seal all stored credentials under a new key")
    return top


def _add(
    words: Any, name: str, work: Callable[[argparse.Namespace], Coroutine[Any, Any, int]], summary: str, *,
    other_name: str | None = None,
) -> argparse.ArgumentParser:  # fmt: skip
    aliases = [other_name] if other_name else []
    made: argparse.ArgumentParser = words.add_parser(name, help=summary, description=summary, aliases=aliases)
    made.set_defaults(work=work)
    return made


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers: 1 to 64")
    return int(text)


if __name__ == "__main__":
    main()
