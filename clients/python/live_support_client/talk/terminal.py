"""Terminal: lines in, lines out. In a terminal what comes in does not destroy the line that is being typed.

Without a terminal, as behind a pipe, it is plain lines both ways.
"""

import asyncio
import codecs
import os
import shutil
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Self

from live_support_client.talk.text import tail, visible

try:
    import termios

    _HAS_TERMIOS = True
except ImportError:  # Windows: plain lines, which its console edits
    _HAS_TERMIOS = False

_PROMPT = "> "
_CHUNK = 65_536
# Longer lines are no messages; what comes behind is cut off.
_LINE_MOST = 20_000


class Terminal:
    """What is typed and shown, from entering to leaving."""

    def __init__(self) -> None:
        self._in = sys.stdin.fileno() if sys.stdin else -1
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._typed = ""
        self._escape = ""
        self._after_return = False
        self._modes: list[Any] | None = None
        self.is_interactive = _HAS_TERMIOS and os.isatty(self._in) and sys.stdout.isatty()
        """Whether what is typed is seen on the screen already."""

    async def __aenter__(self) -> Self:
        """Take over the terminal, and begin to read lines."""
        loop = asyncio.get_running_loop()
        if self.is_interactive:
            self._modes = termios.tcgetattr(self._in)
            self._take_over()
            loop.add_signal_handler(signal.SIGCONT, self._take_over)
            loop.add_signal_handler(signal.SIGWINCH, self._show_typed)
            loop.add_reader(self._in, self._read_keys)
            self._show_typed()
        else:
            # A thread, because a file cannot be waited for; it ends with the process.
            threading.Thread(target=self._read_lines, args=[loop], daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Restore the terminal."""
        if self._modes is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._in)
        for number in (signal.SIGCONT, signal.SIGWINCH):
            loop.remove_signal_handler(number)
        with suppress(OSError, termios.error):
            _write("\r\x1b[K")
        with suppress(OSError, termios.error):
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._modes)

    async def line(self) -> str | None:
        """Wait for the next line; None is the end of the input."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)  # for whoever asks again
        return line

    def show(self, text: str) -> None:
        """Show a line above the one that is being typed."""
        if self.is_interactive:
            _write(f"\r\x1b[K{text}\n")
            self._show_typed()
        else:
            _write(f"{text}\n")

    # A terminal: keys come one by one, and what they make is shown by us.

    def _take_over(self) -> None:
        modes = termios.tcgetattr(self._in)
        modes[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self._in, termios.TCSADRAIN, modes)
        self._show_typed()

    def _read_keys(self) -> None:
        try:
            keys = os.read(self._in, _CHUNK)
        except OSError:
            keys = b""
        if not keys:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(self._in)
            self._lines.put_nowait(None)
            return
        for key in self._decode(keys):
            self._press(key)
        self._show_typed()

    def _press(self, key: str) -> None:
        if self._escape or key == "\x1b":
            self._skip_escape(key)
        elif key in "\r\n":
            if not (key == "\n" and self._after_return):
                _write(f"\r\x1b[K{_PROMPT}{visible(self._typed)}\n")
                self._lines.put_nowait(self._typed)
            self._typed = ""
        elif key == "\x04":  # Ctrl-D
            if not self._typed:
                self._lines.put_nowait(None)
        elif key in "\x7f\b":
            self._typed = self._typed[:-1]
        elif key == "\x15":  # Ctrl-U
            self._typed = ""
        elif key == "\x17":  # Ctrl-W
            self._typed = self._typed.rstrip().rpartition(" ")[0] + " " if " " in self._typed.rstrip() else ""
        elif key == "\t" or key.isprintable() or ord(key) > 0x9F:
            self._typed = (self._typed + key)[:_LINE_MOST]
        self._after_return = key == "\r"

    def _skip_escape(self, key: str) -> None:
        # Keys such as the arrows come as ESC, [ or O, parameters, and a letter or ~.
        self._escape += key
        length = len(self._escape)
        if (length == 2 and key not in "[O") or (length > 2 and (key.isalpha() or key == "~")):
            self._escape = ""

    def _show_typed(self) -> None:
        columns = shutil.get_terminal_size().columns - len(_PROMPT) - 1
        _write(f"\r\x1b[K{_PROMPT}{tail(visible(self._typed).replace(chr(10), ' '), columns)}")

    # Anything else: plain lines.

    def _read_lines(self, loop: asyncio.AbstractEventLoop) -> None:
        rest = ""
        while True:
            try:
                chunk = os.read(self._in, _CHUNK)
            except OSError:
                chunk = b""
            rest += self._decode(chunk, not chunk)
            *lines, rest = rest.split("\n")
            lines = [line.removesuffix("\r") for line in lines]
            if not chunk:
                lines += [rest] if rest else []
            with suppress(RuntimeError):  # the loop has ended
                for line in lines:
                    loop.call_soon_threadsafe(self._lines.put_nowait, line)
                if not chunk:
                    loop.call_soon_threadsafe(self._lines.put_nowait, None)
            if not chunk:
                return


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
