"""Conditions of rules: what they mean, that their words are them, and that no text makes a click wait."""

import fnmatch
import random
import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger.clicks.compiled_conditions import READERS, RuleIndex, compiled, failing
from storage.ledger.clicks.conditions import All, AnyOf, Node, Not, Test, Visitor, from_json, pattern, to_json
from storage.ledger.clicks.referrers import host_and_path, search_engine
from storage.ledger.clicks.rotation import Availability, CompiledRule, Rotation, Share, pick
from storage.ledger.clicks.rotation_rules import node_of, read_rules
from storage.ledger.clicks.rules_in_words import condition_in_words, in_words
from storage.ledger.errors import Refused

Test.__test__ = False  # type: ignore[attr-defined]  # no class of tests
OFFERS = ["a", "b"]


def rule(text: str) -> Node:
    return node_of(read_rules(f"{text} -> a", OFFERS)[0])


def holds(text: str, **visitor: Any) -> bool:
    return compiled(rule(text))(Visitor(**visitor))


@pytest.mark.parametrize(
    ("text", "visitor", "expected"),
    [
        ("country=DE,AT and not device=mobile", {"country": "DE", "device": "desktop"}, True),
        ("country=DE,AT and not device=mobile", {"country": "DE", "device": "mobile"}, False),
        ("country=DE or device=mobile and os=iOS", {"country": "DE"}, True),
        ("(country=DE or device=mobile) and os=iOS", {"country": "DE"}, False),
        ("country!=DE device!=tablet", {"country": "FR", "device": "mobile"}, True),
        ("not (country=DE or country=AT)", {"country": "AT"}, False),
        ("sub2=news-*", {"subs": ("", "news-7")}, True),
        ("sub2=news-*", {"subs": ("", "old-news-7")}, False),
        ("sub1=a?c,x", {"subs": ("abc",)}, True),
        ('sub1="a\\\\*c"', {"subs": ("a*c",)}, True),
        ('sub1="a\\\\*c"', {"subs": ("abc",)}, False),
        ("sub1=!vip", {"subs": ("vip",)}, False),
        ("browser=chrome*", {"browser": "Chrome Mobile"}, True),
        ("referrer=example.test", {"referrer": "https://www.news.example.test/story"}, True),
        ("referrer=example.test", {"referrer": "https://badexample.test/"}, False),
        ("referrer=example.test/blog", {"referrer": "http://example.test/blog/7?x=1"}, True),
        ("referrer=*.example.test/*win*", {"referrer": "https://a.example.test/how-to-WIN"}, True),
        ("referrer=none", {}, True),
        ("not referrer=none", {}, False),
        ("search=google", {"referrer": "https://www.google.co.uk/"}, True),
        ("search=any", {"referrer": "https://news.example.test/"}, False),
        ("unique", {"unique": True}, True),
        ("returning", {"unique": True}, False),
        ("returning or bot", {"unique": False, "bot": True}, True),
        ("unique and person", {"unique": True, "bot": True}, False),
        ("ip=203.0.113.0/24,2001:db8::/32", {"address": "203.0.113.9"}, True),
        ("ip=203.0.113.0/24,2001:db8::/32", {"address": "2001:db8:1::1"}, True),
        ("ip=10.0.0.1-10.0.0.9", {"address": "::ffff:10.0.0.9"}, True),
        ("ip=10.0.0.1-10.0.0.9", {"address": "10.0.0.10"}, False),
        ("ip=10.0.0.1", {}, False),
        ("city=berlin", {"city": "berlin"}, True),
        ("region=DE-BY,Tyrol", {"regions": ("by", "de-by", "bavaria")}, True),
        ("percent=20", {"chance": 0.19}, True),
        ("percent=20%", {"chance": 0.2}, False),
        ("percent=0.5", {"chance": 0.004}, True),
    ],
)
def test_words_mean_what_they_say(text: str, visitor: dict[str, Any], expected: bool) -> None:
    assert holds(text, **visitor) is expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("country=DE and devce=mobile -> a", r"rule 1, character 16: no condition 'devce': did you mean 'device'"),
        ("country=DE -> a; device=phone -> b", r"rule 2, character 18: device 'phone' is none of desktop"),
        ("(country=DE or device=mobile -> a", r"rule 1, character 29: a bracket is not closed"),
        ("country=DE and -> a", r"character 15: a condition is missing before the end"),
        ("country=DE) -> a", r"character 11: '\)' is one too many"),
        ("country= -> a", r"a value is missing after country="),
        ("uniqe -> a", r"character 1: 'uniqe' is no condition: write name=value, unique"),
        ("device -> a", r"character 1: 'device' is no condition: write device=…"),
        ("percent=120 -> a", r"percent '120' is no part of the traffic"),
        ("percent=10,20 -> a", "one part of the traffic"),
        ("ip=300.1.1.1 -> a", r"is no address or network such as"),
        ("search=altavista -> a", r"is none of any, google"),
        ("country=DE and country=AT -> a", r"can never hold"),
        ("sub1=" + "*" * 9 + " -> a", r"more than 8 stars"),
        ("country=DE &", r"cannot be read: write country=DE"),
        ('sub1="x -> a', r"cannot be read"),
    ],
)
def test_a_fault_names_its_position_and_the_fix(text: str, told: str) -> None:
    with pytest.raises(Refused, match=told) as caught:
        read_rules(text, OFFERS)
    assert caught.value.field == "rules"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"any": [{"country": "DE"}, {"contry": "AT"}]}, r"rule 1, if.any\[2\]: no condition 'contry'"),
        ({"any": []}, r"if.any: takes a list"),
        ({"not": {}}, r"if.not: an empty condition"),
        ({"not": "DE"}, r"if.not: a condition is an object"),
        ({"all": [{"sub1": "x"}] * 201}, r"201 conditions"),
    ],
)
def test_a_fault_in_json_names_its_place(raw: Any, told: str) -> None:
    with pytest.raises(Refused, match=told):
        read_rules([{"if": raw, "offers": ["a"]}], OFFERS)


def test_nesting_without_end_is_refused() -> None:
    raw: dict[str, Any] = {"country": ["DE"]}
    for _ in range(5_000):
        raw = {"any": [raw, {"device": ["mobile"]}]}
    with pytest.raises(Refused, match="deep"):
        read_rules([{"if": raw, "offers": ["a"]}], OFFERS)
    with pytest.raises(Refused, match="deep"):
        read_rules("(" * 900 + "country=DE" + ")" * 900 + " -> a", OFFERS)


VALUES = {
    "country": st.sampled_from(["DE", "AT", "!FR"]), "device": st.sampled_from(["mobile", "desktop"]),
    "sub1": st.sampled_from(["a", "b*", "*c", "!a", "or", "a b", 'q"uote', "x,y", "(", "a\\*"]),
    "visitor": st.sampled_from(["unique", "returning", "bot", "person"]), "percent": st.sampled_from(["20", "0.5"]),
    "hours": st.just("9-18"), "ip": st.sampled_from(["10.0.0.0/8", "192.0.2.1"]),
    "referrer": st.sampled_from(["example.test", "none", "*.test/*"]), "search": st.sampled_from(["any", "google"]),
}  # fmt: skip


def _tests(name: str) -> st.SearchStrategy[dict[str, Any]]:
    most = 1 if name == "percent" else 3
    return st.lists(VALUES[name], min_size=1, max_size=most).map(lambda values: {name: values})


TREES = st.recursive(
    st.sampled_from(sorted(VALUES)).flatmap(_tests),
    lambda inner: st.one_of(
        inner.map(lambda node: {"not": node}),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"any": nodes}),
        st.lists(inner, min_size=1, max_size=3).map(lambda nodes: {"all": nodes}),
    ),
    max_leaves=6,
)
VISITORS = st.builds(
    Visitor, country=st.sampled_from(["DE", "AT", "FR", ""]), device=st.sampled_from(["mobile", "desktop"]),
    subs=st.sampled_from([("a",), ("bc",), ("or",), ("a b",), ("",), ("a*",)]), unique=st.booleans(),
    bot=st.booleans(), minute=st.sampled_from([600, 1200]), address=st.sampled_from(["10.1.1.1", "192.0.2.1", ""]),
    referrer=st.sampled_from(["", "https://www.google.de/", "https://news.example.test/x"]),
    chance=st.sampled_from([0.001, 0.1, 0.5]),
)  # fmt: skip


def evaluated(raw: dict[str, Any], visitor: Visitor) -> bool:
    """The meaning of a condition in JSON, written down once more without the code under test."""
    return all(_evaluated(name, value, visitor) for name, value in raw.items())


def _evaluated(name: str, value: Any, visitor: Visitor) -> bool:
    if name == "any":
        return any(evaluated(part, visitor) for part in value)
    if name == "all":
        return all(evaluated(part, visitor) for part in value)
    if name == "not":
        return not evaluated(value, visitor)
    allowed = [part for part in value if not part.startswith("!")]
    barred = [part[1:] for part in value if part.startswith("!")]
    inside = any(_is(name, part, visitor) for part in allowed) or not allowed
    return inside and not any(_is(name, part, visitor) for part in barred)


def _is(name: str, value: str, visitor: Visitor) -> bool:
    referrer = visitor.referrer.removeprefix("https://").removeprefix("www.").rstrip("/")
    match name:
        case "visitor":
            kinds = {"bot"} if visitor.bot else {"person", "unique" if visitor.unique else "returning"}
            return value in kinds
        case "percent":
            return 100 * (visitor.chance or 0) < float(value)
        case "hours":
            return 9 * 60 <= visitor.minute < 18 * 60
        case "ip":
            address = visitor.address.removeprefix("::ffff:")
            return bool(address) and ip_address(address) in ip_network(value)
        case "referrer" if value == "none":
            return not referrer
        case "referrer" if "*" in value:
            return fnmatch.fnmatchcase(referrer, value)
        case "referrer":
            host = referrer.partition("/")[0]
            return host == value or host.endswith(f".{value}")
        case "search":
            return referrer.startswith("google.")
        case "sub1" | "sub2" | "os":
            text = visitor.os.lower() if name == "os" else visitor.subs[int(name[3]) - 1] or ""
            return text == "a*" if value == "a\\*" else fnmatch.fnmatchcase(text, value)
    return bool(getattr(visitor, name) == value)


@given(TREES, VISITORS)
def test_what_is_read_means_the_same_and_reads_back_the_same(raw: dict[str, Any], visitor: Visitor) -> None:
    try:
        stored = read_rules([{"if": raw, "offers": ["a"]}], OFFERS)
    except Refused:  # a contradiction
        return
    node = node_of(stored[0])
    assert read_rules(in_words(stored), OFFERS) == stored
    assert read_rules(stored, OFFERS) == stored
    assert to_json(from_json(to_json(node), "")) == to_json(node)
    assert compiled(node)(visitor) is evaluated(raw, visitor)
    assert (failing(node, visitor) is None) is evaluated(raw, visitor)


@given(st.lists(TREES, min_size=1, max_size=9), st.lists(VISITORS, min_size=1, max_size=4))
def test_an_index_of_rules_chooses_the_rule_that_asking_each_does(raw: list[Any], visitors: list[Visitor]) -> None:
    try:
        nodes = [node_of(stored) for stored in read_rules([{"if": r, "offers": ["a"]} for r in raw], OFFERS)]
    except Refused:
        return
    rules = tuple(CompiledRule(compiled(node, n), (Share(n + 1),), "", node) for n, node in enumerate(nodes))
    for visitor in visitors:
        results = [
            pick(Rotation(rules=rules, shares=(Share(99),)), visitor, among=among,
                 availability=lambda _offer: Availability.OPEN, bound=0, roll=0.5)
            for among in (None, RuleIndex(nodes, READERS).candidates(visitor))
        ]  # fmt: skip
        assert results[0] == results[1]


def test_parts_of_the_traffic_are_as_large_as_they_say_and_drawn_apart() -> None:
    chance = random.Random(15)
    first, second = compiled(rule("percent=20"), 0), compiled(rule("percent=20"), 1)
    counts = [0, 0, 0]
    for _ in range(20_000):
        visitor = Visitor(roll=chance.random())
        one, two = first(visitor), second(visitor)
        counts = [counts[0] + one, counts[1] + two, counts[2] + (one and two)]
    assert [round(count / 20_000, 2) for count in counts] == [0.2, 0.2, 0.04]


def test_a_pattern_costs_little_whatever_the_text() -> None:
    matches = pattern(["*a*a*a*a*a*a*b", "*aaaaaaaaaa?b*"])
    assert matches is not None
    start = time.process_time()
    for _ in range(20):
        assert not matches("a" * 2_000)
    assert time.process_time() - start < 30  # one that tries every split never ends


@pytest.mark.parametrize("value", ["a*b", "*", "a?", "**x", "x*y*z", "a.*"])
@pytest.mark.parametrize("text", ["ab", "axb", "a", "", "xz", "x.y.z", "a.b", "x"])
def test_patterns_match_whole_texts_as_shells_do(value: str, text: str) -> None:
    matches = pattern([value])
    assert matches is not None
    assert bool(matches(text)) is fnmatch.fnmatchcase(text, value)


@pytest.mark.parametrize(
    ("referrer", "engine"),
    [
        ("https://www.google.de/", "google"), ("https://google.com.au/search?q=x", "google"),
        ("https://images.google.com/", "google"), ("https://mail.google.com/", ""), ("https://google.evil.test/", ""),
        ("https://notgoogle.com/", ""), ("https://de.search.yahoo.com/x", "yahoo"), ("https://mail.yahoo.com/", ""),
        ("https://yandex.ru/clck", "yandex"), ("https://ya.ru/", "yandex"), ("https://search.brave.com/", "brave"),
        ("https://www.bing.com/search", "bing"), ("https://duckduckgo.com/", "duckduckgo"), ("", ""),
        ("android-app://com.google.android.googlequicksearchbox/", "google"), ("https://task.com/", ""),
    ],
)  # fmt: skip
def test_search_engines_are_known_by_their_hosts(referrer: str, engine: str) -> None:
    assert search_engine(host_and_path(referrer)) == engine


def test_words_group_only_where_they_must() -> None:
    node = All((AnyOf((Test("country", ("DE",)), Test("visitor", ("unique",)))), Not(Test("sub1", ("or", "a b")))))
    assert condition_in_words(node) == '(country=DE or unique) and not sub1="or","a b"'
