"""The commands of `live-support`."""
