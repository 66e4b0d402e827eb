"""The load test's parts. `clients/load_test.py` is the command; its workers live in processes of their own."""
