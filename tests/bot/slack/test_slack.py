"""Slack over real HTTP, with the real SDK, against a stand-in that signs and checks limits."""

import json
import re
from typing import Any

import httpx
from sqlalchemy import insert

from bot.slack import adapter
from storage.ledger.facts import Role
from storage.tables import sources
from tests.bot.chatting import Chatting
from tests.bot.conftest import Chat
from tests.waiting import eventually


async def test_a_person_joins_and_commands_are_answered(chat: Chat) -> None:
    async with chat() as chats:
        welcome = await chats.flux(f"join {await chats.invite()}")
        assert "Welcome, anna" in welcome["text"]
        answer = await chats.flux("member list")
        assert answer["response_type"] == "ephemeral"
        assert "anna" in json.dumps(answer["blocks"])


async def test_what_is_made_is_shown_to_all_and_errors_to_the_asker_only(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        made = await chats.flux("source add name=PushNet")
        assert made["response_type"] == "in_channel"
        failed = await chats.flux("source add name=PushNet")
        assert failed["response_type"] == "ephemeral"
        assert "taken" in failed["text"]


async def test_a_stranger_gets_one_polite_line_per_command(chat: Chat) -> None:
    async with chat() as chats:
        answer = await chats.flux("member list", user="U0EVE")
        assert answer["response_type"] == "ephemeral"
        assert "/flux join" in answer["text"]
        await chats.slack_answered()
        assert len(await chats.calls(chats.slack)) == 1


async def test_slack_has_its_acknowledgement_at_once(chat: Chat) -> None:
    async with chat() as chats:
        answer = await chats.on(chats.slack, "command", text="help")
        assert answer["seconds"] < 3, "so long Slack waits"
        assert answer["body"] == ""


async def test_forged_and_stale_requests_are_refused(chat: Chat) -> None:
    async with chat() as chats:
        forged = await chats.on(chats.slack, "raw", body="command=%2Fflux&text=help", secret="wrong")
        stale = await chats.on(chats.slack, "raw", body="command=%2Fflux&text=help", skew=-301)
        assert (forged["status"], stale["status"]) == (401, 401)


async def test_the_same_signed_request_is_handled_once(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        first = await chats.on(chats.slack, "command", text="source add name=Once")
        again = await chats.runtime_post(first)
        assert again == 200
        await chats.slack_answered()
        texts = [body["text"] for body in await chats.calls(chats.slack, "response")]
        assert len([text for text in texts if "Once" in text]) == 1


async def test_a_retried_event_is_handled_once(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        for _ in range(2):
            await chats.on(chats.slack, "mention", text="source add name=Twice", event_id="Ev0SAME")
        await chats.slack_answered()
        assert len(await chats.calls(chats.slack, "chat.postMessage")) == 1


async def test_a_command_that_slack_sends_again_is_handled_once(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        first = await chats.on(chats.slack, "command", text="source add name=Once")
        again = await chats.on(
            chats.slack, "raw", body=first["sent"], skew=-20, headers={"X-Slack-Retry-Num": "1"}
        )  # fmt: skip
        assert again["status"] == 200
        await chats.slack_answered()
        texts = [body["text"] for body in await chats.calls(chats.slack, "response")]
        assert len([text for text in texts if "Once" in text]) == 1


async def test_a_mention_works_like_the_slash_command_also_in_threads(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.on(chats.slack, "mention", text="source add name=PushNet", thread="170.001")
        (posted,) = await eventually(lambda: chats.calls(chats.slack, "chat.postMessage"), "a reply")
        assert posted["thread_ts"] == "170.001"
        await chats.on(chats.slack, "mention", text="source list")
        (listed,) = await eventually(lambda: chats.calls(chats.slack, "chat.postEphemeral"), "a reply")
        assert "pushnet" in json.dumps(listed["blocks"])


async def test_a_missing_field_opens_a_modal_with_live_choices_and_faults_at_their_fields(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux('account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        opened = await chats.flux("offer add casino=Lucky")
        assert opened["trigger_id"]
        blocks = {block["block_id"]: block for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert blocks["casino"]["element"]["initial_value"] == "Lucky"
        assert [option["value"] for option in blocks["account"]["element"]["options"]] == ["main"]
        assert not blocks["url"]["optional"]
        view = (await chats.on(chats.slack, "views"))[-1]
        wrong = await chats.on(chats.slack, "submit", view=view, values={"account": "main", "url": "ftp://x"})
        assert set(json.loads(wrong["body"])["errors"]) == {"url"}
        right = await chats.on(
            chats.slack, "submit", view=view, values={"account": "main", "url": "https://x.example.test/?c={click_id}"}
        )
        assert right["body"] == ""
        shown = await eventually(lambda: chats.calls(chats.slack, "chat.postMessage"), "the offer")
        assert "Lucky" in json.dumps(shown)


async def test_a_button_runs_as_the_person_who_presses_it(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.on(chats.slack, "press", value="member invite role=buyer", user="U0EVE")
        (refused,) = await eventually(lambda: chats.calls(chats.slack, "chat.postEphemeral"), "a line")
        assert "/flux join" in refused["text"]
        await chats.flux(f"join {await chats.invite(Role.VIEWER)}", user="U0VERA", user_name="vera")
        await chats.on(chats.slack, "press", value="source add name=X", user="U0VERA")

        async def refused_as_viewer() -> bool:
            return "needs the role buyer" in json.dumps(await chats.calls(chats.slack, "chat.postEphemeral"))

        await eventually(refused_as_viewer, "a refusal")


async def test_a_pressed_button_is_gone_and_says_who_pressed_it(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        button = {
            "type": "button",
            "action_id": "run-1",
            "value": "source add name=X",
            "text": {"type": "plain_text", "text": "Add"},
        }
        message = {"ts": "170.5", "text": "m", "blocks": [{"type": "actions", "elements": [button]}]}
        await chats.on(chats.slack, "press", value="source add name=X", message=message)
        (changed,) = await eventually(lambda: chats.calls(chats.slack, "chat.update"), "the message to change")
        assert changed["blocks"] == [
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "✔ Add · <@U0ANNA>"}]},
        ]
        (reply,) = await eventually(lambda: chats.calls(chats.slack, "chat.postMessage"), "the result")
        assert reply["thread_ts"] == "170.5"


async def test_a_channel_of_no_team_yet_is_bound_by_a_members_join(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        answer = await chats.flux("source list", channel="C0OTHER")
        assert "/flux join" in answer["text"]
        bound = await chats.flux("join", channel="C0OTHER")
        assert "Welcome" in bound["text"]
        assert "No" in (await chats.flux("source list", channel="C0OTHER"))["text"]


async def test_the_app_home_shows_actions_to_members_and_a_line_to_others(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.on(chats.slack, "home", user="U0ANNA")
        (home,) = await eventually(lambda: chats.calls(chats.slack, "views.publish"), "the home")
        assert "New offer" in json.dumps(home)


async def test_names_stand_as_typed_whatever_markup_they_hold(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        made = await chats.flux('source add name="<!channel> & *sale* 💸"')
        assert "<!" not in json.dumps(made)
        assert "<!channel> & *sale* 💸" in {name for (name,) in await chats.names("sources")}


async def test_smart_quotes_and_non_breaking_spaces_are_understood(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux("source add\u00a0name=“Push Net”")
        assert ("Push Net",) in await chats.names("sources")


async def test_the_form_of_an_account_asks_for_the_chosen_platforms_credentials(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        opened = await chats.flux("account add")
        inputs = {block["block_id"] for block in opened["view"]["blocks"] if block["type"] == "input"}
        assert not {"token", "client_secret", "network_id"} & inputs
        view = (await chats.on(chats.slack, "views"))[-1]
        await chats.on(
            chats.slack, "choose", view=view, values={"platform": "affilka", "name": "Mine"}, block="platform"
        )
        (changed,) = await eventually(lambda: chats.calls(chats.slack, "views.update"), "the form to change")
        blocks = {block["block_id"]: block for block in changed["view"]["blocks"] if block["type"] == "input"}
        assert "token" in blocks
        assert "network_id" not in blocks
        assert blocks["name"]["element"]["initial_value"] == "Mine"


async def test_a_credential_typed_on_the_line_stays_in_the_form(chat: Chat) -> None:
    async with chat() as chatting:
        await chatting.flux(f"join {await chatting.invite()}")
        opened = await chatting.flux("account add name=Mine token=typed-on-the-line")
        view = (await chatting.on(chatting.slack, "views"))[-1]
        await chatting.on(chatting.slack, "choose", view=view, values={"platform": "affilka"}, block="platform")
        (changed,) = await eventually(lambda: chatting.calls(chatting.slack, "views.update"), "the form to change")
        for shown in (opened, changed):
            inputs = {block["block_id"]: block["element"] for block in shown["view"]["blocks"]
                      if block["type"] == "input"}  # fmt: skip
            assert inputs["token"]["initial_value"] == "typed-on-the-line"
            assert inputs["name"]["initial_value"] == "Mine"


async def test_a_long_list_is_searched_as_one_types(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        own = {"team_id": chats.runtime.team_id, "created_at": chats.runtime.clock(), "preset": "custom"}
        empty: dict[str, Any] = {"parameters": {}, "postbacks": {}, "options": {}}
        async with chats.database.begin() as tx:
            for n in range(101):
                name = f"source-{n}"
                await tx.execute(insert(sources).values(name=name, code=name, **own, **empty))
        opened = await chats.flux("source show")
        (block,) = [block for block in opened["view"]["blocks"] if block["type"] == "input"]
        assert block["element"]["type"] == "external_select"
        view = (await chats.on(chats.slack, "views"))[-1]
        answer = await chats.on(chats.slack, "suggest", view=view, block="source", value="e-99")
        assert [option["value"] for option in json.loads(answer["body"])["options"]] == ["source-99"]


async def test_a_slow_command_is_acknowledged_told_of_and_answered_in_place(chat: Chat, monkeypatch: Any) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.on(chats.slack, "reset")
        monkeypatch.setattr(adapter, "PATIENCE", 0.0)
        await chats.on(chats.slack, "command", text="source list")

        async def answered() -> Any:
            shown = await chats.calls(chats.slack, "response")
            return len(shown) == 2 and shown

        busy, answer = await eventually(answered, "both")
        assert "Working on source list" in busy["text"]
        assert answer["replace_original"]


async def test_reads_can_be_shared_to_the_channel(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux("source add name=PushNet")
        listed = await chats.flux("source show pushnet")
        values = [e["value"] for b in listed["blocks"] if b["type"] == "actions" for e in b["elements"]]
        assert "share source show pushnet" in values
        await chats.on(chats.slack, "press", value="share source show pushnet", hidden=True)

        async def shared() -> bool:
            return any(
                body.get("response_type") == "in_channel" for body in (await chats.calls(chats.slack, "response"))[-2:]
            )

        await eventually(shared, "the shared answer")


async def test_another_workspace_installs_the_app_and_its_token_is_kept_sealed(chat: Chat) -> None:
    async with chat(SLACK_CLIENT_ID="1.2", SLACK_CLIENT_SECRET="s") as chats, httpx.AsyncClient(timeout=60) as browser:
        begun = await browser.get(f"{chats.url}/slack/install")
        assert begun.status_code == 302
        state = httpx.URL(begun.headers["location"]).params["state"]
        forged = await browser.get(f"{chats.url}/slack/oauth_redirect", params={"code": "c", "state": "x.y.z"})
        assert forged.status_code == 400
        done = await browser.get(f"{chats.url}/slack/oauth_redirect", params={"code": "c", "state": state})
        assert "installed in Other Team" in done.text
        await chats.on(chats.slack, "setup", workspace="T0OTHER")
        await chats.flux(f"join {await chats.invite()}")
        await chats.on(chats.slack, "mention", text="source list")
        await eventually(lambda: chats.calls(chats.slack, "chat.postEphemeral"), "an answer")
        calls = (await chats.slack.get("/_control/calls")).json()
        assert calls[-1]["token"] == "xoxb-installed"
        await chats.on(chats.slack, "event", event={"type": "app_uninstalled"})
        assert chats.chats.slack is not None
        installs = chats.chats.slack.installs

        async def removed() -> bool:
            return await installs.token("T0OTHER") is None

        await eventually(removed, "the token to be forgotten")
        await chats.on(chats.slack, "setup", workspace="T0STANDIN")


async def test_chats_that_are_not_set_up_say_so(chat: Chat) -> None:
    async with chat() as chats, httpx.AsyncClient(timeout=60) as browser:
        answer = await browser.get(f"{chats.url}/slack/install")
        assert answer.status_code == 404
        assert "CASINOFLUX_SLACK_CLIENT_ID" in answer.text


async def test_an_argument_of_ten_thousand_characters_is_refused(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        assert "3,000" in (await chats.flux(f"source add name={'x' * 10_000}"))["text"]


async def test_what_cannot_be_taken_back_is_asked_first_and_the_answer_is_the_askers(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux(f"join {await chats.invite()}", user="U0BOB", user_name="bob")
        await chats.flux("domain add name=bonus.example.test")
        question = await chats.flux("domain remove bonus.example.test")
        assert question["response_type"] == "ephemeral"
        (confirm, *_), *_ = [block["elements"] for block in question["blocks"] if block["type"] == "actions"]
        await chats.on(chats.slack, "press", value=confirm["value"], user="U0BOB", hidden=True)
        await eventually(lambda: _was_told(chats, "nothing to confirm"), "a refusal")
        assert await chats.names("domains") == [("bonus.example.test",)]
        await chats.on(chats.slack, "press", value=confirm["value"], hidden=True)

        async def removed() -> bool:
            return await chats.names("domains") == []

        await eventually(removed, "the domain to go")


async def _was_told(chats: Chatting, text: str) -> bool:
    return text in json.dumps(await chats.calls(chats.slack, "response"))


async def test_slack_is_answered_in_time_while_the_database_is_busy_writing(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        async with chats.database.write_lock:
            answer = await chats.on(chats.slack, "command", text="member list")
        assert answer["status"] == 200
        assert answer["seconds"] < 10, "without an answer before the lock is free it never comes"
        await eventually(lambda: _was_told(chats, "anna"), "the answer")


async def test_a_buyer_limited_to_campaigns_is_offered_those_only(chat: Chat) -> None:
    async with chat() as chats:
        await chats.flux(f"join {await chats.invite()}")
        await chats.flux('account add platform=postback_only name="Main" timezone=UTC currency=EUR')
        await chats.flux("offer add casino=Lucky account=main url=https://x.example.test/?c={click_id}")
        for name in ("mine", "theirs"):
            await chats.flux(f"campaign create name={name} offers=lucky")
        invitation = json.dumps(await chats.flux("member invite role=buyer campaigns=mine"))
        code = re.search(r"/flux join ([\w-]+)", invitation)
        assert code
        await chats.flux(f"join {code[1]}", user="U0BOB", user_name="bob")
        opened = await chats.flux("campaign show", user="U0BOB")
        (block,) = [block for block in opened["view"]["blocks"] if block["type"] == "input"]
        assert [option["value"] for option in block["element"]["options"]] == ["mine"]
