"""The contract of the wire: messages, errors, close codes, text rules, and the files exported from them.

Imports nothing but msgspec and the standard library.
"""
