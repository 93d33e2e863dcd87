"""`python -m connectors.sources > docs/sources.md`: the list of presets, written from the presets themselves."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.sources import presets
from connectors.sources.costs import COST_APIS

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

A postback is delivered when the source's **answer** says so: its status is 2xx, and its body fits the template's
`success`. Conversion APIs bring their own rule. Several sources answer 200 to what they refuse: where that is known,
the preset says below what its answer must not hold. In a template of your own:
`postbacks={"first_deposit": {"url": "https://…", "success": {"contains": ["OK"], "lacks": ["error"]}}}`, or
`"success": {"json_equals": {"result.code": 0}}`. What was not taken is tried again, then given up and can be sent again
(`postback sent`, `postback resend`); the log keeps the answer.

## Credentials in templates
A credential written into a template (a parameter such as `token`, `key`, `password`, `signature`, a password before
the host, an `Authorization` header, a value that looks random) is kept encrypted among the source's settings; the
template keeps a placeholder such as `{FIRST_DEPOSIT_TOKEN}`, filled when the request is sent. Lists, cards, the audit
trail, the outbox and backups do not hold it. To change it write the new one into the template.

## Costs by API
Sources with a line **costs** below report by API what their campaigns cost a day. Give the setting it names
(`source edit SOURCE settings=cost_token=…,ad_account_id=…`): every hour the last three days are read, and once a day
all days that the source restates. What changes is a new revision; a figure no longer reported becomes 0, unless the
whole answer is empty, which changes nothing. An answer that is cut off, lacks a column, or is of other days is an error
that `source show` says, never a zero.

A row of theirs finds our campaigns in this order:
1. by the clicks of that day that carried its campaign id (or name) in a sub parameter: split by their number, exactly.
   Which parameter is said below; `settings=campaign_sub=sub4` names another one;
2. without clicks of that day, by the campaigns that such clicks came to last;
3. by name: the one campaign of the source that has its name or code, or whose code is a word of its name.

What matches nothing is shown by `source show`, with its amount. Amounts keep the currency of the report. Days are those
of the ad account; where its zone is known and is not the reports', `source show` says so.

Nothing here was tried against a real account: the formats are from where each line says, the tests' answers are
constructed. `cost_url` (and `cost_token_url` of Google) point elsewhere, for a proxy or a test.
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
    if rules := {_rule(template["success"]) for template in preset["postbacks"].values() if template.get("success")}:
        yield f"- counts as received only by an answer {' or '.join(sorted(rules))}"
    if preset["settings"]:
        yield f"- settings: {', '.join(f'`{setting}`' for setting in preset['settings'])}"
    if name in COST_APIS:
        api = COST_APIS[name]
        needs = f", with {', '.join(f'`{need}`' for need in api.needs)}" if api.needs else ""
        yield (
            f"- costs: fetched from its reports once the setting `{api.token}` is given{needs}; its campaign id comes "
            f"in `{api.campaign_sub}`; restated over {api.days} days (known from: {api.verified})"
        )
    yield f"- verified: {preset['verified']}"
    if preset.get("note"):
        yield f"- note: {preset['note']}"
    yield ""


def _rule(success: Mapping[str, Any]) -> str:
    parts = [f"with `{text}`" for text in success.get("contains", ())]
    parts += [f"without `{text}`" for text in success.get("lacks", ())]
    parts += [f"whose `{path}` is `{value}`" for path, value in success.get("json_equals", {}).items()]
    return " and ".join(parts)


if __name__ == "__main__":
    sys.stdout.write(document())
