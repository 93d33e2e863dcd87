"""Inline mode: `@bot spring`, typed in any chat, shows the member's campaigns of that name, each a card to share.

https://core.telegram.org/bots/inline: the bot needs /setinline at @BotFather. Who is no member sees nothing.
"""

import msgspec
from sqlalchemy import select
from telegram import InlineQuery, InlineQueryResultArticle, InputTextMessageContent, LinkPreviewOptions

from bot.chat.session import Caller, ChatSessions, carry_out, identify
from bot.core.command import COMMANDS
from bot.core.context import Actor, Room
from bot.core.message import Buttons, Message
from bot.core.permissions import may, visible
from bot.render.text_columns import cut, line
from bot.telegram.html import render
from storage.tables import campaigns

MOST = 10  # cards offered; Telegram takes 50
CACHED = 5  # seconds that Telegram may keep an answer, for that person only
COMMAND = "campaign show"


async def answer(sessions: ChatSessions, query: InlineQuery) -> None:
    """Offer the cards of the campaigns that the person may see and whose name or code holds what was typed."""
    person = str(query.from_user.id)
    room = Room(face="telegram", room=person, user=person, title=query.from_user.full_name, private=True)
    actor = await identify(sessions, Caller(room=room, name=query.from_user.full_name))
    cards = [] if isinstance(actor, Message) else await _cards(sessions, room, actor, query.query)
    await query.answer(cards, cache_time=CACHED, is_personal=True)


async def _cards(sessions: ChatSessions, room: Room, actor: Actor, typed: str) -> list[InlineQueryResultArticle]:
    command = COMMANDS[COMMAND]
    if not may(command, actor):
        return []
    cards = []
    for code, name, status in await _found(sessions, actor, typed):
        reply = await carry_out(sessions, room, actor, command, {"campaign": code})
        if reply.done:
            cards.append(_card(code, name, status, reply.message))
    return cards


async def _found(sessions: ChatSessions, actor: Actor, typed: str) -> list[tuple[str, str, str]]:
    """(code, name, status) of campaigns with all words typed in name or code, names that begin so first, then the
    latest."""
    c = campaigns.c
    query = select(c.code, c.name, c.status).where(c.team_id == actor.team_id, visible(actor, "campaign"))
    async with sessions.database.read() as tx:
        rows = (await tx.execute(query.order_by(c.id.desc()))).all()
    sought = typed.casefold().split()
    matches = [row for row in rows if all(word in f"{row.name} {row.code}".casefold() for word in sought)]
    matches.sort(key=lambda row: not row.name.casefold().startswith(" ".join(sought)))
    return [(row.code, row.name, row.status) for row in matches[:MOST]]


def _card(code: str, name: str, status: str, message: Message) -> InlineQueryResultArticle:
    """A card without its buttons, which only the bot's own chats can take."""
    blocks = tuple(block for block in message.blocks if not isinstance(block, Buttons))
    text = render(msgspec.structs.replace(message, blocks=blocks))[0].html
    return InlineQueryResultArticle(
        id=code[:64], title=cut(line(name), 100), description=f"{code} · {status}",
        input_message_content=InputTextMessageContent(
            text, parse_mode="HTML", link_preview_options=LinkPreviewOptions(is_disabled=True)
        ),
    )  # fmt: skip
