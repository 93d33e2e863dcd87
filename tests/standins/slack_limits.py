"""Slack's limits on a message, checked as Slack would: https://docs.slack.dev/reference/block-kit/blocks."""

import json
import re
from typing import Any


def fault(sent: dict[str, Any]) -> str | None:
    """What Slack would refuse in a message; None if it is fine."""
    blocks = sent.get("blocks") or []
    try:
        check_slack(sent | {"blocks": blocks})
    except AssertionError as wrong:
        return f"invalid: {wrong}"
    return None


def check_slack(sent: dict[str, Any]) -> None:
    blocks = sent["blocks"]
    assert len(blocks) <= 50, "blocks"
    assert 0 < len(sent.get("text") or "") <= 40_000, "text"
    json.dumps(sent, allow_nan=False).encode()
    assert sum(block["type"] == "table" for block in blocks) <= 1, "tables"
    assert sum(block["type"] == "data_visualization" for block in blocks) <= 2, "charts"
    actions = [item for block in blocks if block["type"] == "actions" for item in block["elements"]]
    assert len({action["action_id"] for action in actions}) == len(actions), "action ids"
    for block in blocks:
        check_block(block)


def check_view(view: dict[str, Any]) -> None:
    """A modal: https://docs.slack.dev/reference/views/modal-views, https://docs.slack.dev/reference/block-kit."""
    assert len(view["blocks"]) <= 100, "blocks"
    assert 0 < len(view["title"]["text"]) <= 24, "title"
    assert len(view.get("private_metadata", "")) <= 3000, "private_metadata"
    ids = [block["block_id"] for block in view["blocks"] if "block_id" in block]
    assert len(set(ids)) == len(ids), "block ids"
    for block in view["blocks"]:
        if block["type"] == "input":
            check_input(block)
        else:
            check_block(block)


def check_input(block: dict[str, Any]) -> None:
    element = block["element"]
    assert len(block["block_id"]) <= 255, "block_id"
    assert len(element["action_id"]) <= 255, "action_id"
    check_text(block["label"], 2000)
    if "hint" in block:
        check_text(block["hint"], 2000)
    assert len(element.get("initial_value", "")) <= min(element.get("max_length", 3000), 3000), "initial value"
    options = element.get("options", [])
    assert len(options) <= 100, "options"
    assert options or not element["type"].endswith("static_select"), "no options"
    chosen = [
        *element.get("initial_options", []),
        *([element["initial_option"]] if "initial_option" in element else []),
    ]
    for item in [*options, *chosen]:
        check_text(item["text"], 75)
        assert 0 < len(item["value"]) <= 150, "option value"
    assert all(item in options for item in chosen if options), "an initial option that is none"


def check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "header":
            assert 0 < len(block["text"]["text"]) <= 150, "header"
        case "section":
            for text in [block["text"]] if "text" in block else []:
                check_text(text, 3000)
            assert len(block.get("fields", [])) <= 10, "fields"
            for text in block.get("fields", []):
                check_text(text, 2000)
            assert "text" in block or block["fields"], "an empty section"
        case "context":
            assert len(block["elements"]) <= 10, "context"
            for text in block["elements"]:
                check_text(text, 3000)
        case "actions":
            assert 0 < len(block["elements"]) <= 25, "elements"
            for item in block["elements"]:
                assert 0 < len(item["text"]["text"]) <= 75, "button text"
                assert len(item.get("value", "x")) in range(1, 2001), "button value"
                assert len(item.get("url", "")) <= 3000, "button url"
        case "table":
            assert len(block["rows"]) <= 100, "rows"
            assert all(0 < len(row) <= 20 for row in block["rows"]), "columns"
            assert all(cell.get("text", "x") for row in block["rows"] for cell in row), "an empty cell"
        case "data_visualization":
            check_chart(block)
        case "divider":
            pass
        case kind:
            raise AssertionError(f"what is a {kind}?")


def check_chart(block: dict[str, Any]) -> None:
    assert len(block["title"]) <= 50, "chart title"
    for series in block["chart"]["series"]:
        assert [point["label"] for point in series["data"]] == block["chart"]["axis_config"]["categories"], "labels"
        assert len(series["data"]) <= 20, "points"


def check_text(text: dict[str, Any], limit: int) -> None:
    assert 0 < len(text["text"]) <= limit, "text length"
    assert text["text"].strip(), "blank text"
    if text["type"] == "mrkdwn":
        assert "<" not in re.sub(r"<@U[A-Z0-9]+>", "", text["text"]), "unescaped markup"
