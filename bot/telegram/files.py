"""Files that come with a message on Telegram, fetched only when a command takes one."""

from telegram import Message as TelegramMessage
from telegram.error import TelegramError

from bot.chat.session import Attached
from bot.forms.uploaded_image import MOST_BYTES, refuse_large
from storage.ledger.errors import Refused


def attached(message: TelegramMessage) -> Attached | None:
    """The photo (in its largest size) or document of a message; None without one."""
    sent = max(message.photo, key=lambda size: size.width) if message.photo else message.document
    if sent is None:
        return None

    async def load(field: str) -> bytes:
        if sent.file_size and sent.file_size > MOST_BYTES:
            raise refuse_large(sent.file_size, field)
        try:
            return bytes(await (await sent.get_file()).download_as_bytearray())
        except TelegramError:  # its text may hold the file's address, and that the bot's token
            raise Refused(f"{field}: Telegram did not hand the file over: send it again", field=field) from None

    return load
