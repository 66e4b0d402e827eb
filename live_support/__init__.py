"""The runtime that both services share, and the only code that knows Redis.

Knows the contract (`schemas`), but neither service: what only one of them needs lives there.
"""
