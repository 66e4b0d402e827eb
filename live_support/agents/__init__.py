"""Agents' tokens: how they are checked, and with which keys."""
