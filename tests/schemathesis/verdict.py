"""Holds every answer of the stories against the documents, and every operation against the list of exceptions.

    verdict.py RECORD COUNTS...      answers that the proxy wrote down; what the hooks counted, for each document
"""

import json
import sys
import tomllib
from pathlib import Path

import documents

record, *counts = sys.argv[1:]
known = documents.Documents()
wrong, succeeded, cases = [], set(), 0
answers = documents.read(record)
for answer in answers:
    path = answer["path"].split("?")[0]
    operation, schema = known.of(answer["method"], path)
    if operation is None:
        wrong.append(f"{answer['method']} {path} is in neither document")
        continue
    if 200 <= answer["status"] < 300:
        succeeded.add(operation)
    wrong += [f"{operation} answered {answer['status']}: {misfit}" for misfit in documents.misfits(schema, answer)]
for file in counts:
    counted = json.loads(Path(file).read_text())
    cases += sum(counted["asked"].values())
    succeeded |= counted["answered"].keys()

exceptions = tomllib.loads(Path(__file__).with_name("exceptions.toml").read_text())
everything = set(known.ids())
without = everything - succeeded
unexplained, needless = sorted(without - exceptions.keys()), sorted(exceptions.keys() - without)
wrong += [f"{name} never answered with a 2xx, and exceptions.toml does not say why" for name in unexplained]
wrong += [f"{name} is in exceptions.toml, and need not be" for name in needless]
for line in wrong:
    print(line)
print(
    f"{len(everything)} operations: {len(everything & succeeded)} with a 2xx, {len(exceptions)} exceptions; "
    f"{len(answers)} requests of the stories, {cases} of schemathesis"
)
sys.exit(bool(wrong))
