"""A real browser for pages that we write: headless Chromium over its DevTools protocol, on this machine alone."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PATIENCE = 30.0  # seconds until something awaited counts as never coming


class Browser:
    """One page in a browser of its own, which forgets nothing while it runs. Faults of the page are in ``faults``."""

    def __init__(self, folder: Path):
        self.folder, self.downloads = folder, folder / "downloads"
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Browser:
        assert CHROMIUM
        profile = self.folder / "profile"
        self.downloads.mkdir(parents=True)
        self._process = subprocess.Popen(
            [
                CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        port = profile / "DevToolsActivePort"
        self.wait(lambda: port.exists() and port.read_text().count("\n") >= 1)
        self._run(self._connect(port.read_text().split()[0]))
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._run(self._session.close())
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    async def _connect(self, port: str) -> None:
        import aiohttp

        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as reply:
            [target] = [one for one in await reply.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self._call(f"{domain}.enable")
        await self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json()
            if said.get("method") == "Runtime.exceptionThrown":
                self.faults.append(str(said["params"]["exceptionDetails"]))
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.faults.append(said["params"]["entry"]["text"])
            elif said.get("method") == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            if said.get("id") == number:
                assert "error" not in said, said
                found: dict[str, Any] = said["result"]
                return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        found: dict[str, Any] = self._run(self._call(method, **parameters))
        return found

    def open(self, path: Path) -> None:
        """Load a file, and wait for it."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait(lambda: self.ask("document.readyState") == "complete" and self.ask("location.href") == path.as_uri())

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def press(self, key: str, code: str = "", text: str = "") -> None:
        """A key that goes down and up, as a keyboard sends it. ``text`` is what it writes."""
        code = code or (f"Key{key.upper()}" if len(key) == 1 else key)
        text = text or (key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def saved(self, name: str) -> bytes:
        """What the page saved under a name, whole."""
        path = self.downloads / name
        self.wait(lambda: path.exists() and not list(self.downloads.glob("*.crdownload")))
        data = path.read_bytes()
        path.unlink()
        return data

    @staticmethod
    def wait(until: Any) -> None:
        """Wait for something to become true. Fails when it never does."""
        over = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < over, "what was waited for never came"
            time.sleep(0.02)
