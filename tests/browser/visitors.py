"""A running server, and browsers that visit it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120
# Colouring shares two cores with the browser.
PATIENCE = 120_000
# A drawing needs WebGL, also where there is no GPU.
_OPTIONS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


@contextmanager
def running_server(*options: str) -> Iterator[str]:
    """Run `spcolor serve` at a free port; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spcolor_model", "serve", "--port", str(port), *options]
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, address)
            yield address
        finally:
            process.terminate()
            process.wait(30)
            log.seek(0)
            sys.stdout.write(log.read().decode())


def _wait(process: subprocess.Popen, address: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(address):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no answer at {address}")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Chromium: the system's, or else the one that Playwright has downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_OPTIONS
        )
        yield browser
        browser.close()


class Visitor:
    """One visitor with cookies of its own, and what its browser asked for or complained of."""

    def __init__(self, browser: Browser, address: str, size: tuple[int, int] = (1366, 768)) -> None:
        width, height = size
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.locator("#colour").wait_for()

    def upload(self, box: str, *files: Path) -> None:
        """Give files to a box, and wait until it shows what was made of them."""
        self.page.locator(f"#{box} input[type=file]").first.set_input_files(files)

    def choose_pair(self, target: Path, reference: Path) -> None:
        """Upload both photos, and wait until they are shown."""
        for box, path in (("target", target), ("reference", reference)):
            self.upload(box, path)
            self.page.locator(f"#{box} img[src*='.jpg']").first.wait_for()

    def choose(self, *labels: str) -> None:
        """Open the settings and choose options by their labels."""
        panel = self.page.locator("#settings")
        if not panel.get_by_text(labels[0], exact=True).is_visible():
            panel.get_by_role("button").first.click()
        for label in labels:
            panel.get_by_text(label, exact=True).click()

    def colour(self) -> None:
        """Press the button, and wait for the result."""
        self.start()
        self.wait()

    def start(self) -> None:
        """Press the button."""
        self.page.locator("#colour").click()

    def wait(self) -> None:
        """Wait for the result."""
        self.page.locator("#remarks").get_by_text("pixels").wait_for()
        self.page.locator("#save:not([disabled])").wait_for()

    def save(self, button: str = "save") -> tuple[str, Path]:
        """Press a button that saves a file; return its name, and where it is."""
        with self.page.expect_download() as started:
            self.page.locator(f"#{button}").click()
        return started.value.suggested_filename, started.value.path()

    def close(self) -> None:
        """Close the browser's window."""
        self.context.close()


def read(path: Path) -> np.ndarray:
    """A picture as [H, W, 3] uint8."""
    return np.asarray(Image.open(path).convert("RGB"))
