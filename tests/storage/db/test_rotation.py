"""Stored secrets under a new key."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select

from storage.catalogue import teams
from storage.db.rotation import rotate
from storage.db.secrets import Box, secret_keys
from storage.ledger.errors import CasinoFluxError
from storage.tables import accounts, facts, registrars

NOW = datetime(2026, 10, 1, tzinfo=UTC)


async def test_everything_sealed_is_opened_by_the_new_key_alone(opened: Callable[[], Any]) -> None:
    old, both, new = Box("old"), Box("new, old"), Box("new")
    async with opened() as database:
        async with database.begin() as tx:
            team = {"team_id": await teams.first(tx, NOW), "created_at": NOW}
            await tx.execute(insert(accounts).values(
                **team, name="a", code="a", platform="affilka", timezone="UTC", currency="EUR",
                credentials_secret=old.seal({"token": "t"}), options={"hmac_sealed": old.seal("h"), "plain": "p"},
                postback_key="k",
            ))  # fmt: skip
            await tx.execute(insert(registrars).values(
                **team, name="r", code="r", kind="porkbun", credentials_secret=Box("lost").seal({}), options={},
            ))  # fmt: skip
            await tx.execute(insert(facts).values(name="slack", value=both.seal({"token": "s"})))
        async with database.begin() as tx:
            rotated = await rotate(tx, both)
            assert (rotated.sealed, rotated.unreadable) == (2, ["registrars 1"])
            assert (await rotate(tx, both)).sealed == 0
        async with database.read() as tx:
            account = (await tx.execute(select(accounts))).one()
            fact = (await tx.execute(select(facts.c.value).where(facts.c.name == "slack"))).scalar_one()
    assert new.open(account.credentials_secret) == {"token": "t"}
    assert (new.open(account.options["hmac_sealed"]), account.options["plain"]) == ("h", "p")
    assert new.open(fact) == {"token": "s"}
    with pytest.raises(CasinoFluxError, match="CASINOFLUX_SECRET_KEY"):
        old.open(account.credentials_secret)


def test_a_key_with_a_comma_still_opens_what_it_sealed() -> None:
    sealed = Box("one,key").rotate  # two keys now
    assert secret_keys(" new , old ,") == ["new", "old"]
    assert sealed(Box("one").seal("x")) is None
