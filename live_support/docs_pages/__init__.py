"""The pages under /schema, /asyncapi and /, and what they are made from."""
