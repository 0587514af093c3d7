"""Lets schemathesis read what Python's json reads: NaN and infinities as tokens, for which JSON Schema has no words.

They count as null, as which the native API writes them, and which the schemas allow where there may be one.
"""

import json

import schemathesis


@schemathesis.deserializer("application/json")
def with_tokens(_context, response):
    return json.loads(response.content, parse_constant=lambda _token: None)
