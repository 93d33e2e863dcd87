"""Text that people type on Slack, as plain words; and buttons that replies get there."""

import html
import re

import msgspec

from bot.chat.session import Reply
from bot.core.context import Room
from bot.core.message import Button, Buttons, Message

_LINK = re.compile(r"<((?:https?|mailto):[^|>\s]+)(?:\|([^>]*))?>")
_LEADING_MENTION = re.compile(r"^\s*(?:<@[A-Z0-9]+(?:\|[^>]*)?>[\s:,]*)+")
SHARE = "share "
MOST_VALUE = 2000


def typed(text: str) -> str:
    """Text as it was typed: Slack wraps addresses in <…|…> and escapes &, < and >."""
    return html.unescape(_LINK.sub(_address, text)) if "<" in text or "&" in text else text


def _address(match: re.Match[str]) -> str:
    return (match[2] or match[1].removeprefix("mailto:")) if match[1].startswith("mailto:") else match[1]


def without_mention(text: str) -> str:
    return typed(_LEADING_MENTION.sub("", text)).strip()


def joins(text: str) -> bool:
    return text.partition(" ")[0].lower() in {"join", "start"}


def busy(text: str) -> Message:
    return Message(f"⏳ Working on {' '.join(text.split()[:2])} …", private=True)


def shareable(reply: Reply, text: str, room: Room) -> Reply:
    """What only the asker sees can be shown to the channel, unless it was meant for them alone."""
    if not reply.done or reply.public or reply.message.private or room.private or len(text) + 6 > MOST_VALUE:
        return reply
    blocks = (*reply.message.blocks, Buttons((Button("Share to channel", SHARE + text),)))
    return msgspec.structs.replace(reply, message=msgspec.structs.replace(reply.message, blocks=blocks))


def with_form_button(reply: Reply, text: str) -> Reply:
    """Only a press lets us open a form: offer one."""
    if len(text) > MOST_VALUE:
        return reply
    blocks = (*reply.message.blocks, Buttons((Button("Fill in the rest", text, style="primary"),)))
    return msgspec.structs.replace(reply, message=msgspec.structs.replace(reply.message, blocks=blocks))
