"""`make chat-pictures`: how 30 messages look on a phone, on Slack and Telegram, light and dark.

The messages are those that commands give on a database with 30 days of history, rendered by the bot's own renderers;
Chromium shows the payloads as the platforms do. All pictures go to build/chat-pictures, those of DOCUMENTED also to
docs/pictures.
"""

import asyncio
import base64
import html
import io
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image
from sqlalchemy import insert

from bot.chat.home import home_message
from bot.chat.session import Caller, ChatSessions, Reply, carry_out, handle
from bot.core.command import parse
from bot.core.context import Actor, Room
from bot.core.message import Buttons, Message
from bot.examples import EXAMPLES
from bot.render.chart_image import draw
from bot.render.chart_spec import Theme
from bot.slack import blocks as slack_blocks
from bot.slack.text import shareable
from bot.telegram import html as telegram_html
from bot.telegram.pages import paged
from hub.runtime import boot
from hub.runtime.settings import read_settings
from storage.db.touch_marks import touch
from storage.ledger.facts import Role
from storage.tables import campaigns, click_rollup
from storage.tables.types import EPOCH_DAY
from tests.hub.cockpit.history import KEY, write_history
from tests.hub.cockpit.screen import chromium
from tests.journeys.deployment import ROOT
from tests.standins.browser import CHROMIUM, MISSING

BUILD, DOCS = ROOT / "build" / "chat-pictures", ROOT / "docs" / "pictures"
DOCUMENTED = {"digest", "stats-7d", "alert", "home-and-inline", "long-report"}
NAMES = ("Казино Вулкан весна", "Spring <b>push</b> & co", "عرض الربيع", "Frühling Ärzte", "Ἄνοιξις 💸")
WIDTH = 375

#: What is said for each picture; a page after ` #`.
LINES = {
    "digest": "digest preview", "digest-in-full": "digest preview full=true", "stats-7d": "stats 7d",
    "stats-by-day": "stats 7d by day", "stats-vs-previous": "stats this week vs previous",
    "best-campaign": "best 3 campaigns 30d", "long-report": "stats today", "long-report-page-2": "stats today #2",
    "nothing-happened": "stats 2020-01-01", "campaign-list": "campaign list",
    "campaign-list-page-3": "campaign list #3",
    "campaign-card": "campaign show alpine-native", "confirm-several": "campaign pause alpine-native,verde-native",
    "paused-with-undo": "campaign pause alpine-native", "resumed": "campaign resume alpine-native",
    "tracking-link": "campaign link alpine-native", "offer-list": "offer list", "account-list": "account list",
    "sync-status": "sync status", "why": "why alpine-native yesterday", "forecast": "forecast",
    "click-log": "click log limit=10", "postback-log": "postback log limit=10",
    "alert-added": 'alert add "ftd < 50% of 7d avg" campaign=alpine-native', "digest-subscribed": "digest subscribe",
    "alert-list": "alert list", "cohorts": "cohorts", "cohorts-retention": "cohorts country show=retention",
    "digest-list": "digest list", "help": "help", "mistyped-name": "campaign show alpin-native",
    "mistyped-command": "campain list", "missing-field": "offer add",
}  # fmt: skip
#: What is said between the two chats, so that the second changes something, too.
BETWEEN = {"paused-with-undo": "campaign resume alpine-native", "resumed": "campaign pause alpine-native"}
PREPARED = {
    "alert": "alert", "alert-over": "alert over", "storm": "alerts in a storm", "first-deposit": "first deposit",
    "digest-in-fast-launch": "digest in fast launch",
}  # fmt: skip


class Shown(msgspec.Struct, frozen=True):
    """One message as each chat gets it; on Slack as the App Home shows it if it is one."""

    slack: Message
    telegram: Message
    is_home: bool = False


def main() -> int:
    if CHROMIUM is None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shown = asyncio.run(messages(Path(folder)))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 4 * (WIDTH + 20), "height": 100})
        for name, message in shown.items():
            page.set_content(document(message))
            _store(page.screenshot(full_page=True), BUILD / f"{name}.png")
            if name in DOCUMENTED:
                _store(page.screenshot(full_page=True), DOCS / f"chat-{name}.png")
    sys.stdout.write(f"{len(shown)} pictures in {BUILD}\n")
    return 0


async def messages(folder: Path) -> dict[str, Shown]:
    """Every message by name, from a team with a past and sixty more campaigns of today."""
    await write_history(folder)
    environment = {"CASINOFLUX_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'casinoflux.db'}",
                   "CASINOFLUX_SECRET_KEY": KEY, "CASINOFLUX_PUBLIC_URL": "https://flux.example.com"}  # fmt: skip
    runtime = boot.new_runtime(read_settings(environment, folder=folder))
    sessions = ChatSessions(
        database=runtime.database, deployment=lambda: runtime.deployment, ports=runtime.ports, box=runtime.box,
        clock=runtime.clock,
    )  # fmt: skip
    try:
        await boot.prepare(runtime)
        shown = {}
        actor = Actor(team_id=runtime.team_id, name="anna", role=Role.OWNER)
        await _join(sessions, actor)
        today = await home_message(sessions, _room("slack"), actor)
        for name, line in LINES.items():
            if name == "long-report":
                await _more_campaigns(sessions, runtime.team_id)
            command, _, page = line.partition(" #")
            on_slack = await _said(sessions, "slack", command)
            if name in BETWEEN:
                await _said(sessions, "slack", BETWEEN[name])
            shown[name] = Shown(on_slack, await _said(sessions, "telegram", command, int(page or 0)))
        shown |= {name: Shown(EXAMPLES[example], EXAMPLES[example]) for name, example in PREPARED.items()}
        inline = shown["campaign-card"].telegram
        card = tuple(block for block in inline.blocks if not isinstance(block, Buttons))
        shown["home-and-inline"] = Shown(today, msgspec.structs.replace(inline, blocks=card), is_home=True)
        return shown
    finally:
        await runtime.database.close()


def _room(face: Any) -> Room:
    return Room(face=face, room="C0GENERAL" if face == "slack" else "-100", user="U0ANNA", title="buyers")


async def _join(sessions: ChatSessions, actor: Actor) -> None:
    """Anna joins on both chats."""
    for face in ("slack", "telegram"):
        command, arguments = parse("member invite role=owner")
        invitation = await carry_out(sessions, _room(face), actor, command, arguments)
        code = re.search(r"join ([\w-]+)", str(invitation.message))
        assert code is not None
        await handle(sessions, Caller(room=_room(face), name="anna"), f"join {code[1]}")


async def _said(sessions: ChatSessions, face: str, line: str, page: int = 0) -> Message:
    """The answer to a line in a chat, as it would be sent."""
    reply: Reply = await handle(sessions, Caller(room=_room(face), name="anna"), line)
    if face == "slack":
        return shareable(reply, line, _room(face)).message
    return paged(reply.message, reply.line, page)


async def _more_campaigns(sessions: ChatSessions, team_id: int) -> None:
    now = sessions.clock()
    async with sessions.database.begin() as tx:
        for n in range(60):
            made = await tx.execute(insert(campaigns).values(
                team_id=team_id, name=f"{NAMES[n % len(NAMES)]} {n + 1}", code=f"more-{n + 1}", created_at=now,
                cost_model="none", rules=[], status="active", fallback_url="https://example.com/",
            ).returning(campaigns.c.id))  # fmt: skip
            await tx.execute(insert(click_rollup).values(
                team_id=team_id, hour=(now.date() - EPOCH_DAY).days * 24, campaign_id=made.scalar_one(), site_id=0,
                offer_id=0, source_id=0, country="DE", device="mobile", currency="EUR", clicks=9_000 // (n + 1),
                unique_clicks=9_000 // (n + 1), bot_clicks=0, site_visits=0, outgoing=0, cost=10**9 // (n + 1),
            ))  # fmt: skip
        await touch(tx, team_id, [now.date()])


def document(shown: Shown) -> str:
    """The four looks of a message side by side, each as wide as a phone."""
    renderers: tuple[tuple[str, Callable[[Message, Theme], str], Message], ...] = (
        ("slack", home if shown.is_home else slack, shown.slack), ("telegram", telegram, shown.telegram),
    )  # fmt: skip
    columns = [
        f'<section class="{chat} {theme}">{render(message, theme)}</section>'
        for chat, render, message in renderers
        for theme in ("light", "dark")
    ]
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><main>{_signs("".join(columns))}</main>'


STYLE = f"""
*{{box-sizing:border-box}}body{{margin:0;background:#9aa0a6}}
main{{display:flex;gap:10px;padding:10px;align-items:flex-start}}
section{{width:{WIDTH}px;padding:12px;overflow:hidden;border-radius:14px;--code:#f8f8f8;--line:#ddd;--soft:#616061}}
section.dark{{--code:#222529;--line:#44474b;--soft:#9a9b9e}}
.slack{{background:#fff;color:#1d1c1d;font:15px/1.46 'DejaVu Sans',sans-serif;font-size:13.5px}}
.slack.dark{{background:#1a1d21;color:#d1d2d3}}
.slack h1{{font-size:16px;line-height:1.3;margin:6px 0}}.s{{margin:5px 0;white-space:pre-wrap;overflow-wrap:anywhere}}
.f{{display:grid;grid-template-columns:1fr 1fr;gap:3px 10px;margin:6px 0}}.f div{{overflow-wrap:anywhere}}
.slack pre{{background:var(--code);border:1px solid var(--line);border-radius:4px;padding:6px;margin:4px 0;
font:10.5px/1.5 'DejaVu Sans Mono',monospace;white-space:pre;overflow:hidden}}
.wide{{overflow:hidden;border:1px solid var(--line);border-radius:6px;margin:6px 0}}
table{{border-collapse:collapse;font-size:12px}}td{{border:1px solid var(--line);padding:4px 7px;white-space:nowrap}}
.c{{font-size:11.5px;color:var(--soft);margin:4px 0;overflow-wrap:anywhere}}
.a{{display:flex;flex-wrap:wrap;gap:6px;margin:8px 0}}
.a span{{border:1px solid var(--soft);border-radius:4px;padding:4px 10px;font-weight:700;font-size:12px}}
.a .primary{{background:#007a5a;color:#fff;border-color:#007a5a}}.a .danger{{color:#e01e5a;border-color:#e01e5a}}
.v{{border:1px solid var(--line);border-radius:8px;padding:8px;margin:6px 0}}
.telegram{{background:#c6d7b9;color:#000;font:13.5px/1.36 'DejaVu Sans',sans-serif}}
.telegram.dark{{background:#0e1621;color:#fff;--code:#0b131c}}
.b{{background:#fff;border-radius:12px 12px 12px 4px;padding:7px 10px;margin:4px 0;white-space:pre-wrap;
overflow-wrap:anywhere;max-width:340px}}.dark .b{{background:#182533}}
.b pre{{background:#eef3f7;border-radius:6px;padding:6px;margin:4px 0;font:12.4px/1.4 'DejaVu Sans Mono',monospace;
white-space:pre;overflow:hidden}}.dark .b pre{{background:#0b131c}}
.k{{display:flex;gap:4px;margin:4px 0;max-width:340px}}
.k span{{flex:1;background:#7f9c74;color:#fff;border-radius:8px;text-align:center;padding:7px 4px;font-size:12.5px}}
.dark .k span{{background:#2b3c4d}}img{{width:100%;border-radius:8px;display:block;margin-bottom:4px}}
.e{{display:inline-block;width:1.15em;height:1.15em;line-height:1.15em;border-radius:3px;text-align:center;color:#fff;
font-size:.85em;vertical-align:-.1em}}
"""
#: Emoji as coloured signs: the machine that takes the pictures may have no font for them.
SIGNS = {
    "✅": ("#2ea44f", "✓"), "ℹ️": ("#3b82f6", "i"), "⚠️": ("#e0a100", "!"), "⛔": ("#d92d20", "–"),
    "🔴": ("#d92d20", ""), "🟢": ("#2ea44f", ""), "🔔": ("#e0a100", "♪"),
    "📎": ("#6b7280", "@"), "📄": ("#6b7280", "≡"),
    "🟦": ("#2563eb", ""), "🟧": ("#ea580c", ""), "🟩": ("#16a34a", ""), "🟪": ("#9333ea", ""), "🟥": ("#db2777", ""),
    "🟫": ("#0d9488", ""), "◻️": ("#c7d2fe", ""), "💸": ("#16a34a", "€"),
}  # fmt: skip


def _signs(page: str) -> str:
    for sign, (colour, glyph) in SIGNS.items():
        round_ = ";border-radius:50%" if sign in {"🔴", "🟢"} else ""
        page = page.replace(sign, f'<span class="e" style="background:{colour}{round_}">{glyph}</span>')
    return page


def slack(message: Message, theme: Theme) -> str:
    """A message as Slack shows its blocks."""
    blocks = "".join(_block(block) for block in slack_blocks.render(message)["blocks"])
    charts = slack_blocks.pictures(message)
    images = "".join(f'<div class="c">In the thread</div>{_image(draw(chart, theme))}' for chart in charts)
    hidden = '<div class="c">Only visible to you</div>' if message.private else ""
    return f"{hidden}<b>flux</b> <span class=c>APP 9:00</span>{blocks}{images}"


def home(message: Message, _theme: Theme) -> str:
    """A message as the App Home shows it."""
    return "".join(_block(block) for block in slack_blocks.fallback(message)["blocks"])


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"<h1>{_text(block['text'])}</h1>"
        case "section":
            fields = "".join(f"<div>{_text(text)}</div>" for text in block.get("fields", []))
            text = f'<div class="s">{_text(block["text"])}</div>' if "text" in block else ""
            return text + (f'<div class="f">{fields}</div>' if fields else "")
        case "context":
            return f'<div class="c">{" ".join(_text(text) for text in block["elements"])}</div>'
        case "actions":
            buttons = [f'<span class="{b.get("style", "")}">{_text(b["text"])}</span>' for b in block["elements"]]
            return f'<div class="a">{"".join(buttons)}</div>'
        case "table":
            return _table(block)
        case "data_visualization":
            return _chart(block)
    raise ValueError(f"no look for a {block['type']}")


def _text(text: dict[str, Any]) -> str:
    """Plain text as it is; of mrkdwn bold and code (its entities are HTML's already)."""
    if text["type"] == "plain_text":
        return html.escape(text["text"])
    shown = re.sub(r"```\n?(.*?)\n?```", r"<pre>\1</pre>", text["text"], flags=re.DOTALL)
    return re.sub(r"^\*(.+)\*$", r"<b>\1</b>", shown)


def _table(block: dict[str, Any]) -> str:
    aligns = [column["align"] for column in block["column_settings"]]
    rows = []
    for row in block["rows"]:
        cells = zip(row, aligns, strict=True)
        rows.append("".join(f'<td style="text-align:{align}">{_cell(cell)}</td>' for cell, align in cells))
    return f"<div class=wide><table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table></div>"


def _cell(cell: dict[str, Any]) -> str:
    if cell["type"] == "raw_text":
        return html.escape(cell["text"])
    return f"<b>{html.escape(cell['elements'][0]['elements'][0]['text'])}</b>"


def _chart(block: dict[str, Any]) -> str:
    """Slack's own chart, as bars of the first series."""
    names = ", ".join(series["name"] for series in block["chart"]["series"])
    values = [point["value"] for point in block["chart"]["series"][0]["data"]]
    most = max([*values, 1])
    bars = "".join(
        f'<i style="flex:1;background:#1264a3;height:{max(value, 0) / most * 90 + 1:.0f}px"></i>' for value in values
    )
    head = f"<b>{html.escape(block['title'])}</b> <span class=c>{html.escape(names)}</span>"
    return f'<div class="v">{head}<div style="display:flex;gap:3px;align-items:end;height:92px">{bars}</div></div>'


def telegram(message: Message, theme: Theme) -> str:
    """A message as Telegram shows its parts."""
    return "".join(_part(part, theme) for part in telegram_html.render(message))


def _part(part: telegram_html.Part, theme: Theme) -> str:
    if part.file is not None:
        return f'<div class="b">📄 <b>{html.escape(part.file.name)}</b></div>'
    picture = _image(draw(part.chart, theme)) if part.chart is not None else ""
    rows = "".join(
        f'<div class="k">{"".join(f"<span>{html.escape(key.label)}</span>" for key in row)}</div>' for row in part.keys
    )
    text = part.html.replace("</pre>\n", "</pre>").replace("\n<pre>", "<pre>")  # a block of code has lines of its own
    return f'<div class="b">{picture}{text}</div>{rows}'


def _image(png: bytes) -> str:
    return f'<img alt="chart" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _store(png: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
