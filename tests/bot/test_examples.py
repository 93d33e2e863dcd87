"""Every kind of message on every channel: within limits, and as it was when it was last looked at.

After a wanted change: `CASINOFLUX_KEEP_RENDERS=1 pytest tests/bot/test_examples.py`, then look at the difference.
"""

import os
from pathlib import Path

import msgspec
import pytest

from bot.core.message import Message
from bot.examples import EXAMPLES
from bot.render import terminal
from bot.slack import blocks
from bot.telegram import html

RENDERS = Path(__file__).parent / "renders"


def on_telegram(message: Message) -> str:
    parts = html.render(message)
    assert all(len(part.html) <= 4096 for part in parts)
    shown = [
        "\n".join(filter(None, [
            part.html, f"[picture: {part.chart.title}]" if part.chart else "",
            f"[file: {part.file.name}]" if part.file else "",
            *(" ".join(f"[{key.label}]" for key in row) for row in part.keys),
        ]))
        for part in parts
    ]  # fmt: skip
    return "\n\n---\n\n".join(shown)


def on_slack(message: Message) -> str:
    rendered = blocks.render(message)
    assert len(rendered["blocks"]) <= 50
    return msgspec.json.format(msgspec.json.encode(rendered), indent=1).decode()


CHANNELS = {"terminal.txt": terminal.render, "telegram.html": on_telegram, "slack.json": on_slack}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_message_looks_as_it_did(name: str, channel: str) -> None:
    text = CHANNELS[channel](EXAMPLES[name]).rstrip() + "\n"
    stored = RENDERS / f"{name.replace(' ', '-')}.{channel}"
    if os.environ.get("CASINOFLUX_KEEP_RENDERS"):
        stored.write_text(text, encoding="utf-8")
    assert text == stored.read_text(encoding="utf-8")


def test_a_message_survives_the_outbox() -> None:
    for message in EXAMPLES.values():
        assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(message)), Message) == message
