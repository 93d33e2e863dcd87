"""What a user agent tells of who clicks, and that none of them costs more than a click may."""

import pytest

from hub.requests import user_agents
from hub.requests.user_agents import UserAgents
from storage.ledger.facts import Bot

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@pytest.mark.parametrize("text", ["1" * 512, "x" * 4000, "a-b_" * 128, CHROME + " " + "y" * 300])
def test_the_list_of_crawlers_never_reads_a_long_word(text: str) -> None:
    """It takes time by the square of a word's length: 15 ms for 512 letters, which sixty a second turn into a stop."""
    agents, read = UserAgents(), []

    def crawler(text: str) -> bool:
        read.append(text)
        return False

    agents._crawler = crawler
    assert agents.of(text.encode()).bot == Bot.NO
    assert max(map(len, read[0].split())) <= 48


@pytest.mark.parametrize("text", [
    "Googlebot/2.1 (+http://www.google.com/bot.html)", "q" * 200 + "bot", "bot" + "q" * 200, CHROME + " HeadlessChrome",
    "z" * 100 + " curl/8.0", f"{CHROME} (compatible; {'w' * 90}-spider/1.0)",
])  # fmt: skip
def test_a_machine_is_known_by_its_name_however_long_the_words(text: str) -> None:
    assert UserAgents().of(text.encode()).bot == Bot.CRAWLER


def test_what_is_stored_is_the_agent_as_it_came() -> None:
    text = "Mozilla/5.0 " + "k" * 300
    assert UserAgents().of(text.encode()).text == text


def test_agents_that_all_differ_are_forgotten_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agents, "_KEPT_BYTES", 50_000)
    agents = UserAgents()
    for n in range(200):
        agents.of(f"{n:06d} {'.' * 600}".encode())
    assert sum(map(len, agents._known)) <= 50_000
    assert agents.of(b"000199 " + b"." * 600) is agents.of(b"000199 " + b"." * 600)
