"""A load generator in a process of its own: keep-alive connections on one core, each waiting for its answer.

`python -m bench.load PORT SECONDS CONNECTIONS PATH SEED FORM WHERE` prints one line of JSON. WHERE is `pinned` (the
last core), `first` (there before all else: visitors share no core with the hub's other work) or `anywhere`.
"""

import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

AGENTS = 400
REQUESTS = 40_000

_PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS {0}_{1} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/{0}.{1} Mobile/15E148 Safari/604.1"
)
_ANDROID = (
    "Mozilla/5.0 (Linux; Android {0}; Pixel {1}) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/14{1}.0.0.0 Mobile Safari/537.36"
)
_DESKTOP = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.{1}.0.0 Safari/537.36"
)


#: Most of a campaign's visitors come from a few countries; one in ten from anywhere.
_NETS = (79, 84, 91, 177, 189)


def clicks(seed: int, path: str = "/c/bench") -> list[bytes]:
    """Requests as browsers make them: many visitors and browsers, sub ids, cost, a click id of the source."""
    chance = random.Random(seed)
    forms = (_PHONE, _ANDROID, _DESKTOP)
    agents = [chance.choice(forms).format(chance.randint(11, 19), chance.randint(0, 9)) for _ in range(AGENTS)]
    made = []
    for n in range(REQUESTS):
        net = chance.choice(_NETS) if n % 10 else chance.randint(1, 223)
        address = f"{net}." + ".".join(str(chance.randint(1, 254)) for _ in range(3))
        made.append(
            (
                f"GET {path}?click_id={chance.getrandbits(64):x}&cost=0.0{chance.randint(1, 9)}&sub1=banner-{n % 7}"
                f"&sub2=zone{chance.randint(1, 500)} HTTP/1.1\r\n"
                "Host: track.localhost\r\n"
                f"User-Agent: {chance.choice(agents)}\r\n"
                "Accept: text/html,application/xhtml+xml\r\n"
                f"Accept-Language: {chance.choice(('de-DE,de;q=0.9', 'en-GB,en;q=0.8', 'fi', 'pt-BR'))}\r\n"
                "Referer: https://news.example.test/story\r\n"
                f"X-Forwarded-For: {address}\r\n\r\n"
            ).encode()
        )
    return made


def hammer(
    port: int, seconds: float, connections: int, requests: Sequence[bytes], *, status: bytes = b"302",
    answers: list[tuple[float, float]] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Requests for some seconds; throughput, percentiles in milliseconds, and how many answers were not as wanted.

    `answers` gets the time of day of each answer, and the seconds it took.
    """
    poll = select.epoll()
    socks: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    chosen = 0
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
    expected = b"HTTP/1.1 " + status
    clock = time.perf_counter
    start = clock()
    end = start + seconds
    for number, sock in socks.items():
        sent[number] = clock()
        sock.send(requests[chosen % len(requests)])
        chosen += 1
    took: list[float] = []
    wrong = 0
    while clock() < end:
        for number, _event in poll.poll(0.2):
            sock = socks[number]
            data = sock.recv(65536)
            now = clock()
            took.append(now - sent[number])
            if answers is not None:
                answers.append((time.time(), took[-1]))
            if not data.startswith(expected):
                wrong += 1
            sent[number] = now
            sock.send(requests[chosen % len(requests)])
            chosen += 1
    lasted = clock() - start
    for sock in socks.values():
        sock.close()
    took.sort()
    return {
        "rate": len(took) / lasted,
        "p50": took[len(took) // 2] * 1000,
        "p99": took[len(took) * 99 // 100] * 1000,
        "wrong": wrong,
        "n": len(took),
    }


def short(seed: int, path: str = "/c/bench") -> list[bytes]:
    """Requests as load generators make them, yet of many visitors: a link's parameters, user agent and address."""
    chance = random.Random(seed)
    agents = [_ANDROID.format(chance.randint(11, 19), chance.randint(0, 9)) for _ in range(20)]
    made = []
    for n in range(REQUESTS):
        address = f"{chance.choice(_NETS)}." + ".".join(str(chance.randint(1, 254)) for _ in range(3))
        made.append(
            (
                f"GET {path}?click_id={chance.getrandbits(64):x}&cost=0.0{n % 9 + 1}&sub1=banner-{n % 7} HTTP/1.1\r\n"
                f"Host: track.localhost\r\nUser-Agent: {chance.choice(agents)}\r\nX-Forwarded-For: {address}\r\n\r\n"
            ).encode()
        )
    return made


def main(
    port: str, seconds: str, connections: str, path: str, seed: str, form: str = "browsers", where: str = ""
) -> None:
    if where != "anywhere":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if where == "first":
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    requests = (short if form == "short" else clicks)(int(seed), path)
    print(json.dumps(hammer(int(port), float(seconds), int(connections), requests)))


if __name__ == "__main__":
    main(*sys.argv[1:])
