"""A page in headless Chromium, driven through ChromeDriver's own protocol (W3C WebDriver); needs no package."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1280,900"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference


class Browser:
    """One session."""

    def __init__(self, address: str, session: str) -> None:
        self.address = f"{address}/session/{session}"

    def open(self, page: Path) -> None:
        _ask(f"{self.address}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; what it returns."""
        return _ask(f"{self.address}/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """Click with a pointer: fails where something else lies on top."""
        element = _ask(f"{self.address}/element", {"using": "css selector", "value": selector})[_ELEMENT]
        _ask(f"{self.address}/element/{element}/click", {})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def errors(self) -> list[str]:
        """What the page complained of since the last call, network refusals included."""
        return [entry["message"] for entry in _ask(f"{self.address}/se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        with urllib.request.urlopen(f"{self.address}/screenshot", timeout=60) as answer:
            path.write_bytes(base64.b64decode(json.load(answer)["value"]))


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium and end it with the block; skips the test where it is not installed."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        pytest.skip("no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    with tempfile.TemporaryDirectory() as profile, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([driver, "--port=0"], stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{_port(log)}"
            options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = _ask(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            try:
                yield Browser(address, session)
            finally:
                request = urllib.request.Request(f"{address}/session/{session}", method="DELETE")
                urllib.request.urlopen(request, timeout=60).close()
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(log: Any) -> int:
    """The port that ChromeDriver says it took."""
    for _ in range(300):
        log.seek(0)
        words = log.read().split("on port ")
        if len(words) > 1 and "successfully" in words[-2] + words[-1]:
            return int(words[-1].split(".")[0])
        time.sleep(0.1)
    raise TimeoutError("ChromeDriver did not start within 30 s")


def _ask(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {json.load(error)['value']['message']}") from error
