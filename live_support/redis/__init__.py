"""Redis: the connection, its commands, scripts and subscriptions, and its health. Knows no key and no chat."""
