"""What schemathesis is told of this shop: who asks, which ids there are, and what came of it.

Its requests are invented from the documents alone, so nearly all of them would name things that do not exist. Here ids
become ids of their kind that an answer named, versions those that were read last, and keys are fresh.
"""

import atexit
import json
import os
import random
import re
from collections import Counter

import requests
import schemathesis

import documents

URL = os.environ["CONFORMANCE_URL"]
DOCUMENT = os.environ["CONFORMANCE_DOCUMENT"]
OWNER = json.loads(os.environ["CONFORMANCE_OWNER"])
SPARE = json.loads(os.environ["CONFORMANCE_SPARE"])
ID = re.compile(r"([a-z]{3})_[0-9a-z]{26}")
KEY = re.compile(r"[!-~]{16,128}")
# What else is taken over from answers, by its name.
NAMED = {"barcode", "out_refund_no", "out_trade_no", "request_id", "scene", "subscription"}
# So many values of a kind are remembered, the newest.
MOST = 100

dice = random.Random(int(os.environ["CONFORMANCE_SEED"]))
real = {}
versions = {}
cursors = {}
protected = set()
asked, answered = Counter(), Counter()


def sign_in(body):
    """A session of its own."""
    path = "/api/v1/sessions" if "code" in body else "/admin/v1/sessions"
    answer = requests.post(URL + path, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def learn(value):
    """Remembers the ids and versions in an answer."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), str) and isinstance(value.get("version"), int):
            versions[value["id"]] = value["version"]
        for name, inner in value.items():
            learn(inner)
            if name in NAMED and isinstance(inner, str):
                remember(name, inner)
    elif isinstance(value, list):
        for inner in value:
            learn(inner)
    elif isinstance(value, str) and (found := ID.fullmatch(value)) and value not in protected:
        remember(found[1], value)


def remember(kind, value):
    known = real.setdefault(kind, {})
    known.pop(value, None)
    known[value] = True
    if len(known) > MOST:
        del known[next(iter(known))]


def exchanged(value, memory):
    """The value with real ids, the same for the same."""
    if isinstance(value, dict):
        return {name: exchanged(inner, memory) for name, inner in value.items()}
    if isinstance(value, list):
        return [exchanged(inner, memory) for inner in value]
    if not isinstance(value, str) or not (found := ID.fullmatch(value)):
        return value
    known = real.get(found[1])
    # The session that asks, and whose it is, stay out of it.
    if known and (value not in known or value in protected):
        memory.setdefault(value, dice.choice(list(known)))
    return memory.get(value, value)


def remember_what_was_said():
    for answer in documents.read(os.environ["CONFORMANCE_RECORD"]):
        learn_text(documents.base64.b64decode(answer["body"]))


def learn_text(text):
    try:
        value = json.loads(text)
    except ValueError:
        return None
    learn(value)
    return value


if DOCUMENT == "app":
    session = sign_in({"code": "demo:alice"})
else:
    session = sign_in(OWNER)
    headers = {"Authorization": f"Bearer {session['token']}"}
    mine = requests.get(f"{URL}/admin/v1/me/sessions", headers=headers, timeout=30).json()["items"]
    protected |= {row["id"] for row in mine if row["current"]} | {session["me"]["id"], sign_in(SPARE)["me"]["id"]}
remember_what_was_said()


@schemathesis.auth(refresh_interval=None)
class Token:
    """What ends a session or an account is given one that nothing else needs."""

    def get(self, case, _):
        match case.operation.definition.raw["operationId"]:
            case "logout" | "deleteAccount":
                return sign_in({"code": f"demo:leaver{dice.randrange(10**9)}"})["token"]
            case "signOutStaff" | "changeStaffPassword":
                return sign_in(SPARE)["token"]
        return session["token"]

    def set(self, case, token, _):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(_, case, **__):
    memory = {}
    case.path_parameters = exchanged(dict(case.path_parameters or {}), memory)
    case.query = exchanged(dict(case.query or {}), memory)
    if isinstance(case.body, (dict, list)):
        case.body = exchanged(case.body, memory)
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{dice.randrange(10**32):032}"
    if case.meta and case.meta.generation.mode.is_positive:
        prepare(case)


def prepare(case):
    """What no schema can say: numbers, cursors and tokens of ours, the version that was read last."""
    operation = case.operation.definition.raw["operationId"]
    body = case.body if isinstance(case.body, dict) else {}
    for values in (case.path_parameters, case.query, body):
        for name in NAMED & real.keys() & values.keys():
            if dice.random() < 0.7:
                values[name] = dice.choice(list(real[name]))
    if "cursor" in case.query:
        case.query["cursor"] = cursors.get(operation)
        if not cursors.get(operation):
            del case.query["cursor"]
    named = [versions[name] for name in case.path_parameters.values() if name in versions]
    if named and "version" in body:
        body["version"] = named[-1]
    if operation == "refreshSession":
        body["refresh_token"] = sign_in({"code": "demo:refresher"})["refresh_token"]


@schemathesis.hook
def after_call(_, case, response):
    # A request with another method is of no operation.
    operation = case.operation.definition.raw.get("operationId")
    if response.request.method != case.operation.method.upper():
        return
    asked[f"{DOCUMENT}/{operation}"] += 1
    if 200 <= response.status_code < 300:
        answered[f"{DOCUMENT}/{operation}"] += 1
    said = learn_text(response.content)
    if isinstance(said, dict) and said.get("next_cursor"):
        cursors[operation] = said["next_cursor"]


@atexit.register
def tell():
    with open(os.environ["CONFORMANCE_COUNTS"], "w", encoding="utf-8") as file:
        json.dump({"asked": asked, "answered": answered}, file)
