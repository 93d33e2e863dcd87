"""Loops are watched: a background task is started by `storage.db.tasks`, which starts it again and tells of it."""

import ast
from functools import cache

from tests.house.test_structure import ROOT, parsed

STARTERS = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}

#: Tasks of one request, message or piece of work: who starts them awaits them.
AWAITED = {
    "bot/delivery.py:tick": "one message; `drain` awaits it",
    "bot/delivery.py:_keep": "outcomes of one moment; the senders await it",
    "bot/slack/adapter.py:spawn": "the answer to one request; `stop` awaits it",
    "bot/slack/adapter.py:_answer": "one command, awaited with a notice if it is slow",
    "bot/slack/views.py:submitted": "one form, awaited for as long as Slack waits",
    "bot/telegram/updates.py:_patiently": "one command, awaited with a typing notice",
    "bot/telegram/updates.py:_run": "one button, awaited with a notice if it is slow",
    "hub/cli/supervisor.py:_keep": "the wait for one process or the stop, whichever comes first",
    "hub/jobs/outbound.py:_begin": "one message; the delivery run awaits it",
    "hub/jobs/sync.py:begin": "one sync run, recorded in the database and leased",
    "storage/clicks/writer.py:_drained": "one piece of a spool; the writer awaits it while it spools",
    "storage/clicks/writer.py:_spool_until_done": "the wait for new clicks while one transaction runs",
    "storage/db/bulk_sql.py:under_way": "one statement; its block awaits it",
    "storage/clicks/writer.py:_try_database": "one attempt to begin; the writer awaits it while it spools",
    "storage/db/tasks.py:start_loop": "the one place",
    "storage/db/reused_connection.py:_release": "one connection on its way back to the pool; `close` awaits it",
    "storage/db/transfer.py:_pieces": "the next rows, awaited before they are written",
}


@cache
def starters() -> dict[str, int]:
    """`file:function` of every call that starts a task, with its line."""
    results = {}
    for path, tree in parsed().items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _name(call.func) in STARTERS:
                    results[f"{path.relative_to(ROOT)}:{function.name}"] = call.lineno
    return results


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_loops_are_started_in_one_place() -> None:
    assert sorted(set(starters()) - set(AWAITED)) == []


def test_the_list_of_awaited_tasks_is_current() -> None:
    assert sorted(set(AWAITED) - set(starters())) == []
