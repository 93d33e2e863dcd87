"""Errors over HTTP: a database that is away is told as such, anything else is ours."""

import sqlite3
from typing import Any

import pytest
from litestar import Request
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from structlog.testing import capture_logs

from hub.requests.problems import from_error, is_database_fault, on_any_error
from hub.runtime.helper_process import HelperFailed
from storage.db import tasks
from storage.db.engine import Database


async def test_a_database_that_is_away_or_locked_is_no_fault_of_ours() -> None:
    database = Database("postgresql+asyncpg://u:p@127.0.0.1:1/nowhere")
    with pytest.raises(OSError) as refused:
        async with database.read() as tx:
            await tx.execute(text("SELECT 1"))
    assert is_database_fault(refused.value)
    assert is_database_fault(OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked")))
    assert not is_database_fault(OperationalError("UPDATE", {}, sqlite3.OperationalError("no such table: nowhere")))
    assert not is_database_fault(KeyError("x"))


async def break_off_a_statement(database: Database) -> None:
    async with database.begin() as tx:
        await tx.execute(text("SET LOCAL statement_timeout = 1"))
        await tx.execute(text("SELECT pg_sleep(60)"))


async def test_a_fault_of_the_database_is_answered_in_plain_words_and_logged_once_a_minute(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "monitor", tasks.TaskMonitor())
    database = Database(postgres_url)
    try:
        with pytest.raises(DBAPIError) as fault:
            await break_off_a_statement(database)
    finally:
        await database.close()
    request: Request[Any, Any, Any] = Request({"type": "http", "path": "/", "query_string": b""})  # type: ignore[arg-type]
    with capture_logs() as lines:
        answers = [on_any_error(request, fault.value) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {503}
    assert b"statement_timeout is too short" in answers[0].content
    assert [line["event"] for line in lines] == ["the database cannot be used"]
    assert "exc_info" not in lines[0]


def test_a_helper_process_that_ended_is_no_fault_of_who_asks() -> None:
    assert from_error(HelperFailed("the helper process ended before the work was done")).status_code == 503
