"""JSON Schema of the structs: one translation for the exported files, the OpenAPI and the AsyncAPI documents.

It is msgspec's, changed to suit code generators: a tag is a `const`, a tagged union a `oneOf`, and an optional key may
be left out but is never null, as the server writes and clients should write, too.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.examples import HTTP_EXAMPLES, MESSAGE_EXAMPLES

JsonSchema = dict[str, Any]


def json_schemas(types: Iterable[Any], ref_template: str) -> tuple[list[JsonSchema], dict[str, JsonSchema]]:
    """Translate types, and all structs that they contain.

    Args:
        types: structs, unions of structs, or annotated types.
        ref_template: where a struct's schema is found, with `{name}` for its name.

    Returns:
        A schema per type, which for a struct is a reference; and the structs' schemas by name.
    """
    named = HTTP_EXAMPLES | MESSAGE_EXAMPLES
    examples = {struct.__name__: list(payloads.values()) for struct, payloads in named.items()}
    schemas, components = msgspec.json.schema_components(types, ref_template=ref_template)
    return [_tidy(schema) for schema in schemas], {
        name: _tidy(schema) | ({"examples": examples[name]} if name in examples else {})
        for name, schema in sorted(components.items())
    }


def _tidy(schema: JsonSchema) -> JsonSchema:
    match schema:
        case {"anyOf": [value, {"type": "null"}], "default": None, **rest}:
            return _tidy(value) | rest
        case {"anyOf": members, "discriminator": _, **rest}:
            return rest | {"oneOf": members}
        case {"enum": [tag], **rest}:
            return rest | {"type": "string", "const": tag}
        case {"enum": _}:
            return schema | {"type": "string"}
        case {"properties": properties}:
            return schema | {"properties": {name: _tidy(value) for name, value in properties.items()}}
    return schema
