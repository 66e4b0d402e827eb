"""The agents' tokens: how they are checked, and the keys they are signed with."""
