"""Subscriber (port 9001): shows the waiting users to the agents, and lets exactly one claim each."""
