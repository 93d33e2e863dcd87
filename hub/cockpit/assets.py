"""Style sheet, scripts and the chart library, compressed once and served under an address that changes with them."""

import asyncio
import contextlib
import gzip
import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hub.runtime.runtime import Runtime

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"
#: Vega, Vega-Lite and Vega-Embed as one module, out of vl-convert; made with the first page that draws a chart.
CHART_LIBRARY = "vega.js"


class Assets:
    """The static files in memory. One version for the whole folder, so that modules may import each other by name."""

    def __init__(self) -> None:
        files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
        self.version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
        self._plain = files
        self._making = asyncio.Lock()
        self._packed = {name: gzip.compress(content, 9, mtime=0) for name, content in files.items()}

    def address(self, name: str) -> str:
        return f"/cockpit/static/{self.version}/{name}"

    def add(self, name: str, content: bytes) -> None:
        self._plain[name] = content
        self._packed[name] = gzip.compress(content, 6, mtime=0)

    async def make_chart_library(self, runtime: Runtime) -> None:
        """Once, in the helper process: vl-convert takes 100 MB while it is loaded."""
        async with self._making:
            if CHART_LIBRARY not in self._plain:
                text: str = await runtime.ports.run_in_helper(chart_library, advice="load the page again")
                await asyncio.to_thread(self.add, CHART_LIBRARY, text.encode())

    def response(self, name: str, accepts: str) -> Response[bytes]:
        if name not in self._plain:
            return Response(b"", status_code=404, media_type="text/plain")
        headers = {"cache-control": FOREVER, "vary": "accept-encoding", "x-content-type-options": "nosniff"}
        packed = "gzip" in accepts
        if packed:
            headers["content-encoding"] = "gzip"
        content = (self._packed if packed else self._plain)[name]
        return Response(content, media_type=TYPES[Path(name).suffix], headers=headers)


def asset_route(assets: Assets, runtime: Runtime) -> HTTPRouteHandler:
    """GET /cockpit/static/{version}/{name}; files hold nothing private, so no session is asked for."""

    @get("/cockpit/static/{version:str}/{name:str}", include_in_schema=False, name="cockpit static")
    async def static(version: FromPath[str], name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
        if name == CHART_LIBRARY:
            await assets.make_chart_library(runtime)
        return assets.response(name, request.headers.get("accept-encoding", ""))

    return static


def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets `window.vegaEmbed`; kept in the user's cache folder,
    since bundling takes seconds."""
    cached = _cache_folder() / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return cached.read_text(encoding="utf-8")
    import vl_convert

    text = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    with contextlib.suppress(OSError):
        cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = cached.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(cached)
    return text


def _cache_folder() -> Path:
    """The user's own; no other user may write there, so what is in it is ours."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(chosen) if chosen.startswith("/") else Path("~/.cache").expanduser()) / "casinoflux"
