"""The library that both services are built from. It knows the contract (`schemas`), but neither service."""
