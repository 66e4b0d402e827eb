"""One WebSocket: its life, its bounds, and the ways to the wire."""
