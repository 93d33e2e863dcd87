"""Logos and pictures sent in a chat (or as base64 over HTTP), shown by us from then on."""

from typing import Annotated, Any

from msgspec import Meta

from bot.commands.casinos import casino_card
from bot.commands.sites import publish_again, shown_site, site_card
from bot.core.arguments import Arguments, refers
from bot.core.command import command
from bot.core.context import Context
from bot.forms import uploaded_image
from storage.catalogue import casinos, images, names, sites
from storage.catalogue.casinos import Casino
from storage.catalogue.images import Image
from storage.catalogue.sites import PUBLISHED, Site
from storage.ledger.errors import Refused
from storage.ledger.facts import Role
from storage.tables import sites as site_table

Sent = Annotated[
    bytes | None,
    Meta(description="PNG, JPEG, WebP or GIF of at most 5 MB: comes with the message in a chat, as base64 over HTTP"),
]
Remove = Annotated[bool, Meta(description="show none any more")]


class CasinoLogo(Arguments):
    casino: Annotated[str, refers("casino", "which casino")]
    image: Sent = None
    remove: Remove = False


class SiteImage(Arguments):
    site: Annotated[str, refers("site", "which site")]
    image: Sent = None
    alt: Annotated[str, Meta(description="what the picture shows, for people who cannot see it")] = ""
    earlier: Annotated[str | None, Meta(description="or the address of a picture sent before: /i/….webp")] = None
    remove: Remove = False


async def _logo(_ctx: Context, new: CasinoLogo) -> Image | None:
    return await _made(new, f"casino logo {new.casino}", longest=uploaded_image.LOGO)


async def _hero(_ctx: Context, new: SiteImage) -> Image | None:
    return None if new.earlier else await _made(new, f"site image {new.site}", longest=uploaded_image.HERO)


async def _made(new: CasinoLogo | SiteImage, words: str, *, longest: int) -> Image | None:
    """Outside the transaction, so that no other command waits for a picture. Raises Refused at `image`."""
    if new.remove:
        return None
    if new.image is None:
        raise Refused(f"image: missing: attach the picture to the message {words!r}", field="image")
    return await uploaded_image.reencoded(new.image, longest=longest)


@command("casino logo", role=Role.BUYER, render=casino_card, positional=("casino",), prepare=_logo)
async def set_logo(ctx: Context, new: CasinoLogo) -> Casino:
    """Give a casino the logo that comes with the message; pages that show it change within a second."""
    row = await casinos.find(ctx.tx, ctx.team_id, new.casino)
    made: Image | None = ctx.prepared
    if made:
        await images.store(ctx.tx, ctx.team_id, made, now=ctx.now, alt=row.name)
    after = await casinos.change(ctx.tx, row.id, {"logo": made.address if made else None})
    ctx.notes |= {"entity": "casino", "entity_id": row.id, "before": casinos.entry(row), "after": after}
    return after


@command("site image", role=Role.BUYER, render=site_card, positional=("site",), prepare=_hero)
async def set_image(ctx: Context, new: SiteImage) -> Site:
    """Put the picture that comes with the message below a site's headline."""
    row = await names.find(ctx.tx, site_table, ctx.team_id, new.site, field="site")
    before = await shown_site(ctx, row)
    texts: dict[str, Any] = {name: text for name, text in row.texts.items() if name != "image"}
    if made := ctx.prepared:
        await images.store(ctx.tx, ctx.team_id, made, now=ctx.now, alt=new.alt)
        texts["image"] = {"src": made.address, "width": made.width, "height": made.height, "alt": new.alt}
    elif new.earlier:
        texts["image"] = await _earlier(ctx, new.earlier, new.alt)
    await sites.change(ctx.tx, row.id, {"texts": texts})
    if row.status == PUBLISHED:
        await publish_again(ctx, row.id)
    after = await shown_site(ctx, await names.by_id(ctx.tx, site_table, row.id))
    ctx.notes |= {"entity": "site", "entity_id": row.id, "before": before, "after": after}
    return after


async def _earlier(ctx: Context, address: str, alt: str) -> dict[str, Any]:
    size = await images.size(ctx.tx, ctx.team_id, address)
    if size is None:
        raise Refused(f"earlier: none of your pictures has the address {address}", field="earlier")
    return {"src": address, "width": size[0], "height": size[1], "alt": alt}
