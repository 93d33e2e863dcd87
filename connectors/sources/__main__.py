"""`python -m connectors.sources > docs/sources.md`: the list of presets, written from the presets themselves."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.sources import presets
from connectors.sources.costs import APIS

_HEAD = """# Traffic sources

<!-- Written by `python -m connectors.sources`; a test compares it. -->

`source add name=… preset=…` takes everything below over into a source of your own, where each part can be changed:
the names of things on our link, and what the source receives for each event. Presets stay off until every setting of
your account is given (`settings=aid=123,tid=45`); settings are stored encrypted, filled in at sending.
Without a preset: `source add name=… click_id=subid cost=bid first_deposit="https://…?cid={click_id}&payout={payout}"`.

**Verified** says where the format is known from. What is *inferred* should be compared with your account before money
is spent.

In templates: `{click_id}` (the source's own; `{source_click_id}` is the same), `{our_click_id}`, `{event}`, `{payout}`,
`{payout_whole}`, `{currency}`, `{txn_id}`, `{key}` (one per conversion, the same at every try), `{random}`,
`{timestamp}`, `{player_id}`, `{status}`, `{campaign}`, `{offer}`, `{site}`, `{country}`, `{sub1}` … `{sub10}`.
Upper-case ones such as `{AID}` are your settings.

## Credentials in templates
A credential written into a template (a parameter such as `token`, `key`, `password`, `signature`, a password before
the host, an `Authorization` header, a value that looks random) is kept encrypted among the source's settings; the
template keeps a placeholder such as `{FIRST_DEPOSIT_TOKEN}`, filled when the request is sent. Lists, cards, the audit
trail, the outbox and backups do not hold it. To change it write the new one into the template.
"""


def document() -> str:
    """The whole document."""
    return "\n".join([_HEAD, *(line for name in sorted(presets()) for line in _preset(name, presets()[name]))])


def _preset(name: str, preset: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {preset['title']} (`{name}`)\n"
    macros = preset["options"].get("macros") or {}
    theirs = preset["parameters"]
    if macros:
        query = "&".join(f"{theirs.get(ours, ours)}={macro}" for ours, macro in macros.items())
        yield f"- on our link: `?{query}`"
    for ours, name_there in theirs.items():
        if ours not in macros:
            yield f"- on our link the source itself adds `{name_there}`, which is our `{ours}`"
    for event, template in preset["postbacks"].items():
        description = (
            f"conversion API `{template['api']}`, as `{template['name']}`"
            if template.get("api")
            else f"`{template['method']} {template['url']}`"
        )
        yield f"- {event}: {description}"
    if preset["settings"]:
        yield f"- settings: {', '.join(f'`{setting}`' for setting in preset['settings'])}"
    if name in APIS:
        yield "- costs: fetched from its statistics API once the setting `cost_token` is given"
    yield f"- verified: {preset['verified']}"
    if preset.get("note"):
        yield f"- note: {preset['note']}"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(document())
