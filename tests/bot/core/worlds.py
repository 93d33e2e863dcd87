"""One team with entities of every kind, by whom they serve, beside another team: made once, copied for each test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import insert, select

from bot.core.serving import ENTITIES
from storage import tables as t
from storage.catalogue import teams
from storage.clicks.queries import ensure_codec
from tests.bot.asking import NOON, Asker, asking

MINE = ("mine", "also")  # the campaigns of limited actors

Words = dict[str, dict[str, list[str]]]


class World(msgspec.Struct):
    """One team with entities of each kind by whom they serve, and another team; ids and names by kind."""

    say: Asker
    words: Words  # noun -> own, shared, others, stranger -> words that name one


OpenWorld = Callable[[], AbstractAsyncContextManager[World]]


async def make_world(opened: Callable[[], Any]) -> Words:
    """Fill an empty database; the words that name what is in it."""
    async with asking(opened) as say:
        async with say.database.begin() as tx:
            stranger = (await teams.add(tx, "Strangers", NOON)).id
            codec = await ensure_codec(tx)
        words: Words = {}
        other = Asker(say.database, stranger)
        await _stranger(other, words)
        for whose, campaigns in (("own", "mine"), ("shared", None), ("others", "theirs")):
            await _set_up(say, whose, campaigns, words)
        await _share(say)
        for noun, table in ((noun, entity.table) for noun, entity in ENTITIES.items()):
            async with say.database.read() as tx:
                for row in await tx.execute(select(table)):
                    for whose in ("own", "shared", "others", "stranger"):
                        if row.name.startswith(whose.capitalize()):
                            names = words.setdefault(noun, {}).setdefault(whose, [])
                            names += [row.code, row.name, str(row.id)]
        await _facts(say, codec, words, stranger)
        return words


@asynccontextmanager
async def open_world(opened: Callable[[], Any], words: Words) -> AsyncIterator[World]:
    async with asking(opened) as say:
        yield World(say, words)


async def _set_up(say: Asker, whose: str, campaign: str | None, words: Words) -> None:
    """An entity of every kind, called after whose it is."""
    name = whose.capitalize()
    async with say.database.begin() as tx:
        await tx.execute(insert(t.accounts).values(
            team_id=say.team_id, name=f"{name} account", code=f"{whose}-account", created_at=NOON,
            platform="postback_only", timezone="UTC", currency="EUR", options={}, postback_key=f"key-{whose}",
        ))  # fmt: skip
    await say(
        f'offer add casino="{name} brand" account={whose}-account name="{name} offer" tag={whose} '
        "url=https://a.example.test/?s={click_id}"
    )
    await say(f'site create name="{name} site" market=DE offers={whose}-offer')
    await say(f'source add name="{name} source"')
    await say(f"domain add {whose}.example.test site={whose}-site")
    await say(f'view save name="{name} view" query="stats 7d"')
    async with say.database.begin() as tx:
        await tx.execute(t.domains.update().where(t.domains.c.name == f"{whose}.example.test").values(
            name=f"{name} domain", code=f"{whose}-domain"
        ))  # fmt: skip
        await tx.execute(insert(t.registrars).values(
            team_id=say.team_id, name=f"{name} registrar", code=f"{whose}-registrar", created_at=NOON,
            kind="porkbun", credentials_secret="", options={},
        ))  # fmt: skip
    if campaign is None:
        return
    made = await say(
        f"campaign create {campaign} offers={whose}-offer site={whose}-site source={whose}-source "
        f'group="{name} group" tags={whose},note note="{name} note"'
    )
    words.setdefault("campaign", {})[whose] = [campaign, campaign.upper(), str(made["id"])]
    for noun, line in (
        ("alert", f"alert add ftd campaign={campaign}"),
        ("automation", f'automation add "tell campaign when clicks > 5" campaign={campaign}'),
        ("digest", f"digest subscribe campaigns={campaign}"),
        ("webhook", f"webhook add https://hooks.example.test campaigns={campaign}"),
    ):
        created = await say(line if noun == "webhook" else f"{line} channel=terminal")
        words.setdefault(noun, {})[whose] = [created["code"], str(created["id"])]


async def _stranger(say: Asker, words: Words) -> None:
    await _set_up(say, "stranger", "strange", words)


async def _share(say: Asker) -> None:
    """A campaign of the actor's and one of others both use what is shared, and both concern an alert and a digest."""
    await say('campaign create also offers=shared-offer site=shared-site source=shared-source group="Shared group"')
    await say('campaign create beside offers=shared-offer site=shared-site source=shared-source group="Shared group"')


async def _facts(say: Asker, codec: Any, words: Words, stranger: int) -> None:
    """A click, a conversion, a postback and a delivery of the actor's campaign, of another, and of another team."""
    for n, whose in enumerate(("own", "others", "stranger"), 1):
        click_id = (n << 40) + n
        team = stranger if whose == "stranger" else say.team_id
        campaign = int(words["campaign"][whose][-1])
        async with say.database.begin() as tx:
            await tx.execute(insert(t.click_links).values(
                id=click_id, team_id=team, campaign_id=campaign, site_id=0, offer_id=0, source_id=0, hour=n,
            ))  # fmt: skip
            account = int(words["account"][whose][2])
            conversion = (await tx.execute(insert(t.conversions).values(
                team_id=team, account_id=account, campaign_id=campaign, site_id=0, offer_id=0, source_id=0,
                event="deposit", status="approved", occurred_at=NOON, received_at=NOON, day=NOON.date(), marks=[],
                click_id=click_id,
            ).returning(t.conversions.c.id))).scalar_one()  # fmt: skip
            postback = (await tx.execute(insert(t.postbacks).values(
                team_id=team, account_id=account, received_at=NOON, method="GET", query=b"", body=b"",
                digest=str(n), outcome="accepted", click_id=click_id,
            ).returning(t.postbacks.c.id))).scalar_one()  # fmt: skip
            source = int(words["source"][whose][2])
            delivery = (await tx.execute(insert(t.outbound).values(
                team_id=team, source_id=source, conversion_id=conversion, event="deposit",
                idempotency_key=whose, request={}, host="s.example.test", state="dead", attempts=1,
                created_at=NOON, next_at=NOON,
            ).returning(t.outbound.c.id))).scalar_one()  # fmt: skip
        for noun, word in (("click", codec.encode(click_id)), ("conversion", conversion), ("postback", postback),
                           ("delivery", delivery)):  # fmt: skip
            words.setdefault(noun, {})[whose] = [str(word)]
