"""What every kind of message looks like on Slack and Telegram, as pages to look at: `python -m tests.bot.previews`.

Writes docs/previews/{slack,telegram}.html from the very renders the chats get; with chromium also pictures of them.
"""

import base64
import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bot.core.message import Message
from bot.examples import EXAMPLES
from bot.render.chart_image import draw
from bot.render.chart_spec import COLOURS
from bot.render.text_columns import sparkline
from bot.slack.blocks import pictures
from bot.slack.blocks import render as slack_render
from bot.telegram.html import Part
from bot.telegram.html import render as telegram_render

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "previews"
PAGE = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'

SLACK_STYLE = """
body{margin:0;padding:24px;background:#fff;color:#1d1c1d;font:15px/1.47 Lato,'Noto Sans',sans-serif}
main{max-width:680px}
h2{font-size:12px;color:#616061;font-weight:400;margin:28px 0 4px;border-top:1px solid #eee;padding-top:12px}
.m{display:flex;gap:8px}
.m>i{width:36px;height:36px;border-radius:6px;background:#111827;color:#fff;font:700 18px/36px sans-serif;
text-align:center;flex:none}.m>div{min-width:0;flex:1}.n b{margin-right:6px}.n span{font-size:12px;color:#616061}
.n u{font-size:10px;background:#e8e8e8;border-radius:2px;padding:0 3px;text-decoration:none;color:#616061}
h1{font-size:18px;margin:8px 0 4px}.s{margin:4px 0;white-space:pre-wrap;overflow-wrap:anywhere}
.f{display:grid;grid-template-columns:1fr 1fr;gap:2px 16px;margin:4px 0}.f div{overflow-wrap:anywhere}
pre{background:#f8f8f8;border:1px solid #ddd;border-radius:4px;padding:8px;margin:4px 0;
font:12px/1.5 'DejaVu Sans Mono',monospace;white-space:pre-wrap}
table{border-collapse:collapse;margin:6px 0;font-size:13px}td{border:1px solid #ddd;padding:4px 8px}
.c{font-size:12px;color:#616061;margin:4px 0}.a{display:flex;flex-wrap:wrap;gap:8px;margin:8px 0}
.a span{border:1px solid #bbb;border-radius:4px;padding:4px 12px;font-weight:700;font-size:13px}
.a .primary{background:#007a5a;color:#fff;border-color:#007a5a}.a .danger{color:#e01e5a;border-color:#e01e5a}
.v{border:1px solid #ddd;border-radius:8px;padding:10px;margin:6px 0}
img{max-width:460px;width:100%;border-radius:8px;border:1px solid #ddd;margin:6px 0;display:block}
"""
TELEGRAM_STYLE = """
body{margin:0;padding:16px;background:#c6d7b9;color:#000;font:15px/1.35 'Noto Sans',Roboto,sans-serif}
main{width:358px}h2{font-size:12px;color:#456;font-weight:400;margin:22px 0 6px}
.b{background:#fff;border-radius:12px 12px 12px 4px;padding:7px 10px;margin:4px 0;white-space:pre-wrap;
overflow-wrap:anywhere;box-shadow:0 1px 1px #0002}
.b pre{background:#eef3f7;border-radius:6px;padding:6px 8px;margin:4px 0;
font:11.5px/1.45 'DejaVu Sans Mono',monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.k{display:flex;gap:4px;margin:4px 0}
.k span{flex:1;background:#8aa57bcc;color:#fff;border-radius:8px;text-align:center;padding:8px 4px;font-weight:600;
font-size:14px}.b img{width:100%;border-radius:8px;display:block;margin-bottom:4px}
"""


def main() -> None:
    """Write both pages; take pictures where a browser is at hand."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = {"slack": (SLACK_STYLE, slack, 740), "telegram": (TELEGRAM_STYLE, telegram, 390)}
    for name, (style, shown, width) in pages.items():
        parts = [f"<h2>{html.escape(kind)}</h2>{shown(message)}" for kind, message in EXAMPLES.items()]
        page = (
            f"{PAGE.format(title=f'CasinoFlux on {name.title()}')}<style>{style}</style><main>{''.join(parts)}</main>\n"
        )
        (FOLDER / f"{name}.html").write_text(page, encoding="utf-8")
        digest = f"{PAGE.format(title='')}<style>{style}</style><main>{shown(EXAMPLES['digest'])}</main>"
        _photograph(digest, FOLDER / f"{name}-digest.png", width)
    sys.stdout.write(f"{FOLDER}\n")


def slack(message: Message) -> str:
    """A message as Slack shows its blocks."""
    sent = slack_render(message)
    blocks = "".join(_block(block) for block in sent["blocks"])
    images = "".join(_image(draw(chart)) for chart in pictures(message))
    hidden = '<div class="c">Only visible to you</div>' if message.private else ""
    name = '<div class="n"><b>flux</b><u>APP</u> <span>9:00 AM</span></div>'
    return f'<div class="m"><i>F</i><div>{hidden}{name}{blocks}{images}</div></div>'


def _block(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"<h1>{_text(block['text'])}</h1>"
        case "section":
            fields = "".join(f"<div>{_text(field)}</div>" for field in block.get("fields", []))
            text = f'<div class="s">{_text(block["text"])}</div>' if "text" in block else ""
            return text + (f'<div class="f">{fields}</div>' if fields else "")
        case "context":
            return f'<div class="c">{" ".join(_text(element) for element in block["elements"])}</div>'
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
    aligns = [setting["align"] for setting in block["column_settings"]]
    rows = []
    for row in block["rows"]:
        cells = zip(row, aligns, strict=True)
        rows.append("".join(f'<td style="text-align:{align}">{_cell(cell)}</td>' for cell, align in cells))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _cell(cell: dict[str, Any]) -> str:
    if cell["type"] == "raw_text":
        return html.escape(cell["text"])
    return f"<b>{html.escape(cell['elements'][0]['elements'][0]['text'])}</b>"


def _chart(block: dict[str, Any]) -> str:
    lines = [
        f'<div><b style="color:{colour}">{html.escape(series["name"])}</b> '
        f"{sparkline([point['value'] for point in series['data']])}</div>"
        for colour, series in zip(COLOURS["light"], block["chart"]["series"], strict=False)
    ]
    return f'<div class="v"><b>{html.escape(block["title"])}</b>{"".join(lines)}</div>'


def telegram(message: Message) -> str:
    """A message as Telegram shows its parts, on a phone."""
    return "".join(_part(part) for part in telegram_render(message))


def _part(part: Part) -> str:
    if part.file is not None:
        return f'<div class="b">📄 <b>{html.escape(part.file.name)}</b></div>'
    image = _image(draw(part.chart)) if part.chart is not None else ""
    rows = "".join(
        f'<div class="k">{"".join(f"<span>{html.escape(key.label)}</span>" for key in row)}</div>' for row in part.keys
    )
    return f'<div class="b">{image}{part.html}</div>{rows}'


def _image(png: bytes) -> str:
    return f'<img alt="chart" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _photograph(page: str, target: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/p",
             f"--screenshot={target}", f"--window-size={width},1500", source.as_uri()],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip


if __name__ == "__main__":
    main()
