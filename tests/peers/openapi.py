"""openapi-spec-validator reads /openapi.json: the document keeps to OpenAPI 3.1, its schemas and examples included."""

import json
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator


def check(url):
    with urllib.request.urlopen(url + "/openapi.json", timeout=30) as response:
        content_type = response.headers.get("content-type")
        document = json.load(response)
    assert content_type == "application/json", content_type
    assert document["openapi"].startswith("3.1."), document["openapi"]
    complaints = ["{}: {}".format(error.json_path, error.message) for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert not complaints, "; ".join(complaints)
    assert "/models/iris/predict" in document["paths"], "the document has no path for iris"
