"""A real browser that tests drive: Chromium without a window, by its own debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATH: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Where there is one; None: there is none."""

PATIENCE: Final = 60.0
"""Seconds for whatever the browser is to do."""

OPTIONS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--remote-debugging-port=0", "--hide-scrollbars",
)  # fmt: skip

KEYS: Final = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Escape": 27, "Tab": 9, "End": 35, "Home": 36}
"""Keys that write nothing, and their numbers; others are their own text."""


class Page:
    """One page, and what went wrong on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.errors: list[str] = []
        """What the console was told as an error, what was thrown, and what the page was not allowed to do."""
        self._socket = socket
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Take what the browser says, until it ends."""
        async for text in self._socket:
            told = json.loads(text)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
                continue
            kind, what = told["method"], told["params"]
            if kind == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(what["exceptionDetails"]))
            elif kind == "Runtime.consoleAPICalled" and what["type"] in {"error", "assert"}:
                self.errors.append(json.dumps(what["args"]))
            elif kind == "Log.entryAdded" and what["entry"]["level"] == "error":
                self.errors.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something, and return its answer."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(PATIENCE):
            told = await answer
        assert "error" not in told, told["error"]
        return told["result"]

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return what an expression comes to; a promise is waited for."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(PATIENCE):
            while not await self.run(script):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)

    async def text(self, selector: str) -> str:
        """Return the text of the first element that fits."""
        return await self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        code = {"windowsVirtualKeyCode": KEYS[key], "nativeVirtualKeyCode": KEYS[key]} if key in KEYS else {}
        text = {"text": "\r"} if key == "Enter" else {} if key in KEYS else {"text": key}
        await self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, **code, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    async def look_like(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Have a window of this size, and prefer light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> None:
        """Write what can be seen as a PNG file."""
        told = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))  # noqa: ASYNC240 - a small file


@asynccontextmanager
async def browsing(profile: Path, *options: str) -> AsyncIterator[Page]:
    """Yield an empty page of a browser of its own, which keeps its files in ``profile``."""
    assert PATH is not None
    process = await asyncio.create_subprocess_exec(
        PATH, *OPTIONS, f"--user-data-dir={profile}", *options, "about:blank",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with connect(await _page_of(profile), max_size=None, compression=None) as socket:
            page = Page(socket)
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(page.read())
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
                reader.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _page_of(profile: Path) -> str:
    """Where the page of a browser that starts is driven."""

    def look() -> str:
        port = (profile / "DevToolsActivePort").read_text().split("\n")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        return pages[0]["webSocketDebuggerUrl"]

    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await asyncio.to_thread(look)
            except (OSError, IndexError, ValueError):
                await asyncio.sleep(0.05)
