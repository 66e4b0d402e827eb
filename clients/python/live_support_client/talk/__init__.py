"""A small chat in the terminal, for either role: `live-support-talk`, or `python -m live_support_client.talk`."""
