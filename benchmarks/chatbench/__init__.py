"""The benchmark: starts the product and its peers in turn, loads each in the same way, and compares."""
