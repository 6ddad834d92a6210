"""Whose files are whose: a folder of each visitor, that nobody else can name or read."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# A page that is loaded again, or a phone that sleeps, is away for less.
_GRACE_SECONDS = 600
_SECONDS = 3600


@dataclass
class Visitor:
    """One browser: its folder, its open tabs, and when it was last heard of."""

    folder: Path
    tabs: int = 0
    seen: float = field(default_factory=time.monotonic)


class Storage:
    """Folders of visitors below one root, and one that all may read.

    A visitor is known by a random token that the server hands out as a cookie. The names of
    folders and files are random too.

    Args:
        root: a folder that this process alone uses.
        hours: that the files of an idle visitor are kept. Without any open tab they go after ten
            minutes.

    Example:
        >>> storage = Storage(Path("/tmp/page"), hours=12)
        >>> storage.new_file(storage.admit(None), ".png")
        PosixPath('/tmp/page/qF3.../Zk9....png')
    """

    def __init__(self, root: Path, hours: float) -> None:
        self.root = root.resolve()
        self.shared = self.root / "shared"
        self.shared.mkdir(parents=True, exist_ok=True)
        self._seconds = hours * _SECONDS
        self._visitors: dict[str, Visitor] = {}
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()

    def admit(self, token: str | None) -> str:
        """Return the token of a known visitor as it is, or that of a new one."""
        with self._lock:
            if token not in self._visitors:
                token = secrets.token_urlsafe(32)
                self._visitors[token] = Visitor(self.root / secrets.token_urlsafe(24))
            self._visitors[token].seen = time.monotonic()
            return token

    def knows(self, token: str | None) -> bool:
        """Tell whether a token was handed out and is still good."""
        return token in self._visitors

    def bind(self, session: str, token: str) -> bool:
        """Tell whether a page's session is this visitor's; it is whose name comes first."""
        with self._lock:
            return self._sessions.setdefault(session, token) == token

    @contextmanager
    def tab(self, token: str) -> Iterator[None]:
        """Count a tab as open."""
        visitor = self._visitors[token]
        with self._lock:
            visitor.tabs += 1
        try:
            yield
        finally:
            with self._lock:
                visitor.tabs -= 1
                visitor.seen = time.monotonic()

    def new_file(self, token: str, suffix: str) -> Path:
        """Return a path in a visitor's folder that nothing has.

        Raises:
            KeyError: the visitor is gone.
        """
        folder = self._visitors[token].folder
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{secrets.token_urlsafe(16)}{suffix}"

    def new_folder(self, token: str) -> Path:
        """Return a new folder of a visitor, for a file whose own name is to be kept."""
        folder = self.new_file(token, "")
        folder.mkdir(mode=0o700)
        return folder

    def readable(self, token: str | None, path: str | Path) -> bool:
        """Tell whether a visitor may read a path: a file of its own, or one for all."""
        try:
            resolved = Path(path).resolve()
        except (OSError, ValueError):
            return False
        folders = [self.shared]
        if token in self._visitors:
            folders.append(self._visitors[token].folder)
        return any(folder in resolved.parents for folder in folders) and resolved.is_file()

    def used(self, token: str) -> int:
        """Return how many bytes a visitor's files have."""
        files = self._visitors[token].folder.rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())

    def sweep(self) -> None:
        """Remove the visitors that are gone, with everything of theirs."""
        now = time.monotonic()
        with self._lock:
            gone = [
                token
                for token, visitor in self._visitors.items()
                if now - visitor.seen > (self._seconds if visitor.tabs else _GRACE_SECONDS)
            ]
            folders = [self._visitors.pop(token).folder for token in gone]
            self._sessions = {s: t for s, t in self._sessions.items() if t in self._visitors}
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.root, ignore_errors=True)
