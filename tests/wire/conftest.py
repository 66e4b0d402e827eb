"""Tests of what is on the wire, byte by byte.

Here belongs what compares exact frames, keys or close codes, sends malformed or forged input, or needs what the SDK
hides from its users: repeats, lone frames before a join, a slow reader. Such tests speak raw frames, with the words of
`tests/helpers/wire.py`. All else goes through the SDK: `tests/integration/`.
"""
