"""A headless Chromium, driven over the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/.

That needs no driver whose version has to match the browser's.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tests.helpers import wait_until

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root, in a container, cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Return the browser's path, None where there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """A tab of the browser.

    Parameters
    ----------
    url : str
        Of its DevTools socket.
    """

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=120, suppress_origin=True, max_size=None)
        self._numbers = itertools.count(1)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:  # others are events, which nobody asked for
                assert "error" not in message, message
                return message["result"]

    def go(self, url: str) -> None:
        """Open an address."""
        self.ask("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return what a JavaScript expression gives, a promise's value, too."""
        result = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, script: str, timeout: float = 120) -> Any:
        """Evaluate an expression until it gives something true, and return that."""
        return wait_until(lambda: self.evaluate(script), timeout, interval=0.1)

    def resize(self, width: int, height: int) -> None:
        """Give the page a size, in pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        """Write what is seen into a PNG file."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Let go of the tab."""
        self._socket.close()


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Page]:
    """Start the browser with a profile in a folder; end it with the block.

    Yields
    ------
    Page
        An empty one.
    """
    log = (folder / "chromium.log").open("wb")
    command = [program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            active = folder / "profile" / "DevToolsActivePort"
            port = wait_until(lambda: active.exists() and active.read_text().split("\n")[0], timeout=60)
            page = Page(_first_page(int(port)))
            try:
                yield page
            finally:
                page.close()
        finally:
            process.terminate()


def _first_page(port: int) -> str:
    def found() -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as reply:
            pages = [target["webSocketDebuggerUrl"] for target in json.load(reply) if target["type"] == "page"]
        return pages[0] if pages else None

    return str(wait_until(found, timeout=60))
