"""Owed and paid, by the month, under each carryover rule; losses are carried on or forgotten, never cut off."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from storage.ledger.revenue.owed import RULES, Earned, Rule, statements
from storage.reports import payments
from storage.reports.payments import Terms
from storage.tables import accounts
from tests.storage.books import FIRST, at, build, later, row


def months(rule: Rule, *earned: Earned, threshold: int = 0) -> list[tuple[int, int, int]]:
    return [(m.payable, m.carried_out, m.waived) for m in statements(earned, {}, rule=rule, threshold=threshold)]


def made(month: str, commission: int, brand: str = "a", player: str = "") -> Earned:
    return Earned(month=month, commission=commission, brand=brand, player=player)


def test_without_carryover_a_negative_month_is_forgotten_but_shown() -> None:
    answer = statements([made("2026-09", -50), made("2026-10", 80)], {}, rule="none")
    assert [(m.commission, m.payable, m.waived) for m in answer] == [(-50, 0, -50), (80, 80, 0)]


def test_an_account_carries_its_loss_into_the_next_month() -> None:
    assert months("account", made("2026-09", -50), made("2026-10", 80)) == [(0, -50, 0), (30, 0, 0)]


def test_a_brand_carries_its_own_loss_only() -> None:
    earned = made("2026-09", -50, "a"), made("2026-09", 20, "b"), made("2026-10", 10, "a"), made("2026-10", 5, "b")
    assert months("brand", *earned) == [(20, -50, 0), (5, -40, 0)]


def test_a_player_beyond_the_threshold_earns_back_his_own_loss() -> None:
    earned = (
        made("2026-09", -500, player="whale"), made("2026-09", -10, player="small"), made("2026-09", 60, player="good"),
        made("2026-10", 450, player="whale"), made("2026-10", 5, player="good"),
    )  # fmt: skip
    assert months("player", *earned, threshold=100) == [(50, -500, 0), (0, 0, -45)]


@given(
    st.lists(st.builds(made, st.sampled_from(["2026-08", "2026-09", "2026-10"]), st.integers(-500, 500),
                       st.sampled_from("ab"), st.sampled_from(["", "p", "q"]))),
    st.sampled_from(RULES),
    st.integers(0, 300),
)  # fmt: skip
def test_every_micro_unit_is_payable_carried_or_waived(earned: list[Earned], rule: Rule, threshold: int) -> None:
    for m in statements(earned, {}, rule=rule, threshold=threshold):
        assert m.payable + m.carried_out + m.waived == m.commission + m.carried_in
        assert m.payable >= 0 >= m.carried_out


async def test_payments_stand_against_what_is_owed(opened: Callable[[], Any]) -> None:
    async with opened() as database, database.begin() as tx:
        books = await build(tx)
        rows = [row(FIRST, commission_cpa=100), row(FIRST, "other", commission_revshare=-30), row(later(40), ngr=1)]
        await books.sync(tx, "acme", rows, now=at(later(60)))
        account_id = books.ids["acme"]
        query = select(accounts).where(accounts.c.id == account_id)
        await payments.pay(
            tx, team_id=books.team_id, account_id=account_id, day=later(45), amount=90, currency="EUR", now=at(FIRST)
        )
        (answer,) = await payments.owed(tx, (await tx.execute(query)).one())
        assert [(m.month, m.commission, m.payable, m.paid) for m in answer.months] == [
            ("2026-10", 70, 70, 0), ("2026-11", 0, 0, 90)
        ]  # fmt: skip
        assert (answer.outstanding, answer.settled_to) == (-20, later(40))
        await payments.set_terms(tx, (await tx.execute(query)).one(), Terms(rule="brand"))
        (answer,) = await payments.owed(tx, (await tx.execute(query)).one())
        assert (answer.payable, answer.carried) == (100, -30)
