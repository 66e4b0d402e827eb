"""Runs the chat as `python -m live_support_client.talk`."""

import sys

from live_support_client.talk.command import main

sys.exit(main())
