"""How a service is put together, run and stopped."""
