"""The state in Redis and its rules: the log of a chat, the queue of waiting users, their keys and scripts."""
