"""The docs pages under /schema, /asyncapi and /, and the documents that they show."""
