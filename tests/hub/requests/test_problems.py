"""Errors over HTTP: a database that is away is told as such, anything else is ours."""

import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from hub.requests.problems import from_error, is_database_fault
from hub.runtime.helper_process import HelperFailed
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


def test_a_helper_process_that_ended_is_no_fault_of_who_asks() -> None:
    assert from_error(HelperFailed("the helper process ended before the work was done")).status_code == 503
