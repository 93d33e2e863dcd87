"""A traffic source that takes its time: `python -m bench.slow_source PORT SECONDS` answers every request after so long.

`GET /count` tells at once how many requests were answered, and how many were open at the same time at most.
"""

import asyncio
import os
import sys

_ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}"


class Source:
    """Counts what it answers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answered = self._open = self._most = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                text = f"{self._answered} {self._most}" if head.startswith(b"GET /count ") else await self._take()
                writer.write(_ANSWER.format(len(text), text).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _take(self) -> str:
        self._open += 1
        self._most = max(self._most, self._open)
        await asyncio.sleep(self._seconds)
        self._open -= 1
        self._answered += 1
        return "OK"


async def main(port: int, seconds: float) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # the load on that core goes first, as if it had its own
    server = await asyncio.start_server(Source(seconds), "127.0.0.1", port, backlog=1000)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
