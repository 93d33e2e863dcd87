"""A casino entry comes with its first offer and is found again by code, name or id."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from storage.catalogue import casinos, teams
from storage.ledger.errors import Refused

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


async def test_a_casino_is_made_once_and_found_by_every_word(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        team = await teams.first(tx, NOW)
        made = await casinos.ensure(tx, team, "Lucky Star", NOW)
        assert (made.code, made.status) == ("lucky-star", "draft")
        for word in ("Lucky Star", "lucky star", "lucky-star", " LUCKY STAR ", str(made.id)):
            assert (await casinos.ensure(tx, team, word, NOW)).id == made.id


async def test_an_empty_casino_name_is_refused_at_its_field(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        team = await teams.first(tx, NOW)
        with pytest.raises(Refused) as caught:
            await casinos.ensure(tx, team, "   ", NOW)
        assert caught.value.field == "casino"


async def test_a_changed_casino_reads_back(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        team = await teams.first(tx, NOW)
        made = await casinos.ensure(tx, team, "Lucky Star", NOW)
        changed = await casinos.change(tx, made.id, {"bonus": "100 % up to €200", "payment_methods": ["Visa"]})
        assert changed == casinos.entry(await casinos.find(tx, team, "lucky-star"))
        assert changed.payment_methods == ("Visa",)
