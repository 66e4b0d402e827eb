"""Children of `live-support up` end with it, even when it is killed and cannot stop them."""

import os
import signal
import sys
import threading


def end_with_stdin() -> None:
    """Stop this process as SIGTERM would once standard input is closed.

    `up` holds the other end of that pipe; the kernel closes it however `up` ends.
    """
    threading.Thread(target=_wait_for_the_end, name="lifeline", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # Aimed at the main thread, whose blocking call it has to interrupt.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
