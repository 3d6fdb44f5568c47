"""The two OpenAPI documents: which operation a request is for, and what an answer of it has to be."""

import base64
import json
import re
from pathlib import Path

import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("app", "admin")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.hook
def before_load_schema(_, raw_schema):
    """OpenAPI 3.0 has no words for the events of a stream: the documents list their data. Schemathesis reads events."""
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                stream = answer.get("content", {}).get("text/event-stream")
                if stream and stream["schema"].get("format") == "event-stream":
                    data = {"contentMediaType": "application/json", "contentSchema": stream["schema"]["items"]}
                    stream["schema"] = {"type": "object", "required": ["data"], "properties": {"data": data}}


class Documents:
    def __init__(self):
        self.operations = []
        for name in NAMES:
            schema = schemathesis.openapi.from_path(ROOT / "openapi" / f"{name}.json")
            for path, methods in schema.raw_schema["paths"].items():
                pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$")
                for method, operation in methods.items():
                    self.operations.append((method.upper(), path, pattern, schema, name, operation["operationId"]))

    def ids(self):
        """Every operation as document/operationId: both have a listStores."""
        return [f"{name}/{operation}" for *_, name, operation in self.operations]

    def of(self, method, path):
        """The operation of a request: its id and schemathesis' own. What is spelled out goes before a parameter."""
        fitting = [row for row in self.operations if row[0] == method and row[2].match(path)]
        if not fitting:
            return None, None
        method, path, _, schema, name, operation = min(fitting, key=lambda row: row[1].count("{"))
        return f"{name}/{operation}", schema[path][method]


def read(file):
    """Recorded answers, one a line."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def misfits(operation, answer):
    """What of a recorded answer is not as the document says."""
    content = base64.b64decode(answer["body"])
    response = Response(
        status_code=answer["status"],
        headers={name: [value] for name, value in answer["headers"]},
        content=content,
        request=requests.Request(answer["method"], "http://127.0.0.1" + answer["path"]).prepare(),
        elapsed=0.0,
        verify=False,
        # A feed ends when its listener does.
        stream_cut_short="text/event-stream" in dict(answer["headers"]).get("content-type", ""),
    )
    parameters = {name: "x" for name in re.findall(r"\{(\w+)\}", operation.path)}
    try:
        operation.Case(path_parameters=parameters).validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        return [f"{failure.title}: {failure.message}" for failure in group.exceptions]
    return []
