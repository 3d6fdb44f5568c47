"""What goes wrong on the evening after the README's day: payments that do not fit, refunds that the channel does not pay
out, letters that can't be delivered, and the people who clear it up.

The stories of the README do not get there, and no invented request does: each step leaves an answer with a 2xx of
operations that need such a state. Requests go through the proxy, which writes the answers down.

    evening.py SHOP-URL SANDBOX-URL DATABASE-FILE OWNER SPARE     the last two as JSON: user_name, password
"""

import json
import sqlite3
import sys
import time
from contextlib import contextmanager

import requests

SHOP, SANDBOX, DATABASE = sys.argv[1:4]
OWNER, SPARE = map(json.loads, sys.argv[4:6])
STORE, ONLINE = "sto_00000000000000000000000002", "sto_00000000000000000000000001"
TEA, POT = "sku_00000000000000000000000004", "sku_00000000000000000000000007"
HOUR_MS = 3_600_000
HOME = {
    "recipient": "林晓",
    "phone": "13800138000",
    "province": "浙江省",
    "city": "杭州市",
    "district": "西湖区",
    "detail": "龙井路 1 号 2 幢 301 室",
}
keys = 0


class Person:
    """Somebody who is signed in at one of the two APIs."""

    def __init__(self, api, credentials=None):
        self.api, self.credentials, self.token = api, credentials, None
        if credentials:
            self.sign_in()

    def sign_in(self):
        self.token = self.post("/sessions", self.credentials)["token"]

    def ask(self, method, path, body=None, **headers):
        global keys
        keys += 1
        headers = {"Idempotency-Key": f"evening-{time.time_ns()}-{keys}", **headers}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return call(method, f"{SHOP}{self.api}{path}", body, headers)

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None, **headers):
        return self.ask("POST", path, body, **headers)


def call(method, url, body=None, headers=None):
    is_json = body is None or isinstance(body, (dict, list))
    answer = requests.request(
        method, url, json=body if is_json else None, data=None if is_json else body, headers=headers, timeout=60
    )
    if not answer.ok:
        raise SystemExit(f"evening: {method} {url} answered {answer.status_code}: {answer.text}")
    return answer.json() if "json" in answer.headers.get("content-type", "") else answer.content


def sandbox(method, path, body=None):
    return call(method, f"{SANDBOX}/sandbox{path}", body)


def until(what, look):
    """What `look` finds, as soon as it does."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise SystemExit(f"evening: no {what} after a minute")


def by_hand(*statements):
    """Something that is done to the database by hand."""
    with sqlite3.connect(DATABASE, timeout=30) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@contextmanager
def fault(**what):
    sandbox("POST", "/faults", {"times": 1000, **what})
    yield
    sandbox("DELETE", "/faults")


def ahead(ms):
    sandbox("POST", "/clock/advance", {"ms": ms})
    for person in people:
        person.sign_in()


customer = Person("/api/v1", {"code": "demo:alice"})
owner = Person("/admin/v1", OWNER)
invited = owner.post("/staff-invitations", {"user_name": SPARE["user_name"], "role": "FINANCE"})
first_password = "a jar of white tea"
accepting = {"invitation_token": invited["invitation_token"], "name": "秋月", "password": first_password}
Person("/admin/v1").post("/staff-invitations/accept", accepting)
spare = Person("/admin/v1", {**SPARE, "password": first_password})
spare.ask("PUT", "/me/password", {"current_password": first_password, "new_password": SPARE["password"]})
spare.credentials = SPARE
people = [customer, owner, spare]
address = customer.post("/addresses", HOME)["id"]


def order(store=ONLINE, sku=TEA, quantity=1, fulfilment="DELIVERY"):
    basket = {"store_id": store, "fulfilment": fulfilment, "lines": [{"sku_id": sku, "quantity": quantity}]}
    if fulfilment == "DELIVERY":
        basket["address_id"] = address
    quote = customer.post("/quotes", basket)
    return customer.post("/orders", {"quote_token": quote["quote_token"]})["id"]


def start_payment(order):
    return customer.post(f"/orders/{order}/payments", {"provider": "WECHAT_PAY"})


def pay_at_wechat(payment):
    prepay = payment["request_payment"]["package"].removeprefix("prepay_id=")
    sandbox("POST", f"/payments/{prepay}/pay", payment["request_payment"])


def order_is(order, status):
    until(f"{status} order", lambda: customer.get(f"/orders/{order}")["status"] == status)


def paid(**what):
    placed = order(**what)
    pay_at_wechat(start_payment(placed))
    order_is(placed, "PAID")
    return placed


def refund_of(order, status):
    """Asks for everything back; the refund, when it stands there."""
    refund = customer.post(f"/orders/{order}/refunds", {"reason": "不想要了"})["id"]
    until(f"{status} refund", lambda: owner.get(f"/refunds/{refund}")["status"] == status)
    return refund


def session_of_spare():
    spare.sign_in()
    sessions = owner.get(f"/staff/{member}/sessions")["items"]
    mine = spare.get("/me/sessions")["items"]
    current = {row["id"] for row in mine if row["current"]}
    return next(row["id"] for row in sessions if row["id"] not in current)


# Staff and their sessions.
member = spare.get("/me")["id"]
owner.ask("DELETE", f"/staff/{member}/sessions/{session_of_spare()}")
spare.sign_in()
spare.ask("DELETE", f"/me/sessions/{session_of_spare()}")

other = owner.post("/staff-invitations", {"user_name": "nobody", "role": "VIEWER"})["id"]
owner.ask("DELETE", f"/staff-invitations/{other}")
spare.ask("DELETE", "/sessions/current")
spare.sign_in()

# A customer with a number, and the order that staff cancels.
me = next(user for user in sandbox("GET", "/users") if user["name"] == "alice")
code = sandbox("POST", "/phone-codes", {"openid": me["openid"], "phone": "13800138000"})["code"]
customer.ask("PUT", "/me/phone", {"code": code})
wrong = order()
number = start_payment(wrong)["out_trade_no"]
customer.get(f"/orders/by-payment/{number}")
owner.post(f"/orders/{wrong}/cancel", {"reason": "缺货"})

# The channel does not close a payment: a day later two people close the order.
lost = order()
start_payment(lost)
with fault(kind="down", path="/v3/pay/transactions/out-trade-no"):
    customer.post(f"/orders/{lost}/cancel", {})
    order_is(lost, "CLOSING")
    ahead(26 * HOUR_MS)
    because = {"reason": "渠道长时间无响应"}
    declined = owner.post(f"/orders/{lost}/close-unanswered", because)["id"]
    spare.post(f"/proposals/{declined}/decline", {"reason": "再等一天"})
    confirmed = owner.post(f"/orders/{lost}/close-unanswered", because)["id"]
    spare.post(f"/proposals/{confirmed}/confirm")

# A pickup, with its code as a picture.
store = owner.get(f"/stores/{STORE}")
owner.post(f"/stores/{STORE}/resume", {"version": store["version"]})
pickup = paid(store=STORE, fulfilment="PICKUP")
owner.post(f"/orders/{pickup}/ready")
customer.get(f"/orders/{pickup}/pickup-qr")

offer = owner.ask("PUT", f"/stores/{STORE}/offers/{TEA}/sold-out", {"sold_out": True})
change = {"price": offer["price"], "on_sale": True, "version": offer["version"]}
owner.ask("PUT", f"/stores/{STORE}/offers/{TEA}", change)

# Refunds that staff starts or looks up at the channel, of what is paid.
owner.post(f"/orders/{paid()}/refunds", {"reason": "缺货", "sellable": True})
known = until("refund at the channel", lambda: sandbox("GET", "/refunds"))[0]["out_refund_no"]
owner.post("/refunds/look-up", {"out_refund_no": known})

# Refunds of what is shipped, which staff decides.
for decision, body in (("approve", {"sellable": True}), ("reject", {"reason": "已过售后期"})):
    shipped = paid()
    owner.post(f"/orders/{shipped}/ship", {"carrier": "ZTO", "tracking_no": f"7310{time.time_ns()}"})
    owner.post(f"/refunds/{refund_of(shipped, 'REQUESTED')}/{decision}", body)
withdrawn = paid()
owner.post(f"/orders/{withdrawn}/ship", {"carrier": "ZTO", "tracking_no": f"7310{time.time_ns()}"})
customer.post(f"/refunds/{refund_of(withdrawn, 'REQUESTED')}/withdraw")

# Refunds that the channel does not pay out are proved by people, and then it pays them after all.
for end in ("adopt", "close"):
    with fault(kind="refund_abnormal", times=1):
        refund = refund_of(paid(), "MANUAL")
    number = sandbox("GET", "/refunds")[0]["out_refund_no"]
    proof = {"text": "已通过银行转账退款", "reference": "2026031400012345"}
    spare.post(f"/proposals/{owner.post(f'/refunds/{refund}/proof', proof)['id']}/confirm")
    sandbox("POST", f"/refunds/{number}/finish", {"status": "SUCCESS"})
    found = until("discrepancy", lambda: owner.get("/refund-discrepancies")["items"])[0]["id"]
    owner.post(f"/refund-discrepancies/{found}/{end}", {"reason": "与财务核对"})
    if end == "adopt":
        owner.post(f"/refund-discrepancies/{found}/close", {"reason": "与财务核对"})

# A refund that the channel refuses, since the merchant gave back a part in the console.
refused = paid(quantity=2)
sandbox("POST", "/refunds", {"out_trade_no": sandbox("GET", "/payments")[0]["out_trade_no"], "amount": 100})
ahead(60_000)
manual = refund_of(refused, "MANUAL")
owner.post(f"/refunds/{manual}/give-up", {"reason": "顾客同意不再退款"})

# There is too little money for a refund at first.
poor = paid()
with fault(kind="refund_not_enough", times=1):
    waiting = refund_of(poor, "APPROVED")
    until("call", lambda: not sandbox("GET", "/faults"))
owner.post(f"/refunds/{waiting}/retry")

# A payment of another amount, a notice for a payment that nobody knows.
mismatched = start_payment(order())
attempt = f"payment_attempts SET amount_minor = amount_minor %s WHERE id = '{mismatched['attempt_id']}'"
by_hand(f"UPDATE {attempt % '+ 1'}")
pay_at_wechat(mismatched)
until("mismatched payment", lambda: owner.get("/payments?status=MISMATCH")["items"])
by_hand(f"UPDATE {attempt % '- 1'}")
owner.post(f"/payments/{mismatched['attempt_id']}/decide", {"decision": "ORPHAN", "reason": "来源不明"})
unknown = start_payment(order())
rename = f"UPDATE payment_attempts SET out_trade_no = '%s' WHERE id = '{unknown['attempt_id']}'"
by_hand(rename % "hidden")
pay_at_wechat(unknown)
parked = until("parked notice", lambda: owner.get("/parked-notices")["items"])[0]["id"]
alert = until("alert", lambda: owner.get("/alerts")["items"])[0]["id"]
owner.post(f"/alerts/{alert}/close", {"reason": "已处理"})
by_hand(rename % unknown["out_trade_no"])
owner.post(f"/parked-notices/{parked}/replay", {"reason": "已修正"})

# An order that was cancelled and paid at the same moment, and whose refund is over.
held = paid()
by_hand(f"UPDATE orders SET ship_hold_ms = 1 WHERE id = '{held}'")
owner.post(f"/orders/{held}/release-hold", {"reason": "退款已处理"})

# WeChat does not take what is told of a shipment.
with fault(kind="upload_10060001"):
    late = paid()
    owner.post(f"/orders/{late}/ship", {"carrier": "ZTO", "tracking_no": f"7310{time.time_ns()}"})
    until("failed upload", lambda: owner.get("/shipping-uploads/failed")["items"])
owner.post(f"/shipping-uploads/{late}/retry")

# What can't be delivered is replayed or discarded.
by_hand("ALTER TABLE notices RENAME TO notices_away")
order(), order()


def letters():
    sandbox("POST", "/clock/advance", {"ms": 60_000})
    found = owner.get("/dead-letters?event=OrderPlaced")["items"]
    return found if len(found) >= 2 else None


dead = until("dead letters", letters)
by_hand("ALTER TABLE notices_away RENAME TO notices")
owner.get(f"/dead-letters/{dead[0]['event_id']}/{dead[0]['subscription']}")
for letter, decision in zip(dead, ("replay", "discard")):
    which = {"event_id": letter["event_id"], "subscription": letter["subscription"]}
    owner.post(f"/dead-letters/{decision}", {**which, "reason": "表已恢复"})

# Whatever is asked after this meets a channel that works.
sandbox("DELETE", "/faults")
