"""ChatServer (port 9000): registration, and the chat between a User and a Support."""
