"""Durable clicks against a bare Redirect, against themselves without storage, and against a commit per request."""

import asyncio

from bench.stage import Figures, Line, Server, folder, middle, ratio, rounds, servers, set_up


def told(found: dict[str, list[Figures]], *names: str) -> str:
    return ", ".join(f"{name} {middle(found[name]):,.0f}/s p99 {middle(found[name], 'p99'):.1f} ms" for name in names)


def lines(*, n: int = 7, seconds: float = 3.0) -> list[Line]:
    """Four servers on one core, 64 connections from the other, in turn."""
    with folder() as place:
        urls = {kind: f"sqlite+aiosqlite:///{place / kind}.db" for kind in ("clicks", "unstored", "each")}
        for url in urls.values():
            asyncio.run(set_up(url))
        kinds = {"redirect": Server("redirect")} | {kind: Server(kind, url) for kind, url in urls.items()}
        with servers(**kinds) as started:
            ports = {name: server.port for name, server in started.items()}
            result = rounds(ports, n=n, seconds=seconds, form="short")
            full = rounds({name: ports[name] for name in ("redirect", "clicks")}, n=n, seconds=seconds)
    return [
        Line("durable click ÷ bare Litestar Redirect", ratio(result, "clicks", "redirect"), 1.0,
             detail=told(result, "clicks", "redirect")),
        Line("the same, with all headers a browser sends", ratio(full, "clicks", "redirect"), 1.0,
             detail=told(full, "clicks", "redirect")),
        Line("durable click ÷ without storage", ratio(result, "clicks", "unstored"), 0.6,
             detail=told(result, "unstored")),
        Line("durable click ÷ insert and commit per request", ratio(result, "clicks", "each"), 25,
             detail=told(result, "each")),
        Line("p99 of the durable click ÷ of the Redirect", ratio(result, "clicks", "redirect", "p99"), 1.0,
             at_most=True),
    ]  # fmt: skip
