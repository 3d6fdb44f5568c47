//! Who may do what: every operation of store management by every role, and what a limited set of stores hides.

use std::collections::BTreeMap;

use minimall::admin::scope::OF_NO_STORE;
use minimall::routes;
use minimall::staff::Role;
use minimall::staff::roles::{OPERATIONS, permission_of};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, ONLINE_STORE, SKU, TestApp, fresh_key};

/// The whole matrix, by hand: O owner, M manager, C clerk, F finance, V viewer. `src/staff/roles.rs` decides,
/// and has to say the same.
const MATRIX: &str = "
    getStaffMe OMCFV             changeStaffPassword OMCFV    signOutStaff OMCFV
    listMyStaffSessions OMCFV    endMyStaffSession OMCFV
    listStaff O                  getStaff O                   changeStaffRole O
    disableStaff O               enableStaff O
    listStaffSessions O          endStaffSessions O           endStaffSession O
    inviteStaff O                listStaffInvitations O       takeBackStaffInvitation O
    listStores OMCFV             getStore OMCFV               getStoreQrCode OMCFV
    createStore OM               updateStore OM               pauseStore OM           resumeStore OM
    listProducts OMCFV           getProduct OMCFV             createProduct OM        updateProduct OM
    createSku OM                 updateSku OM                 setOffer OM             adjustStock OM
    listStock OMCFV              listStockMoves OMCFV
    listCouponTemplates OMCFV    getCouponTemplate OMCFV      createCouponTemplate OM updateCouponTemplate OM
    listUserCoupons OMCFV        grantCoupon OM               voidCoupon OM
    getTodo OMCFV                listAllOrders OMCFV          getOrderForStaff OMCFV  listCarriers OMCFV
    listenToOrders OMCFV         correctTracking OMC          createShippingBatch OMC listShippingBatches OMC
    getShippingBatch OMC         applyShippingBatch OMC       listFailedUploads OMCFV retryUpload OMC
    retryFailedUploads OMC       revealRecipients OMC         revealPhone OMC
    listUsers OMCFV              getUser OMCFV
    shipOrder OMC                cancelOrderByStaff OM        releaseOrderHold OM
    repriceOrder OM              addOrderNote OMC             listPickups OMCFV       markOrderReady OMC
    verifyPickup OMC             handOverPickup OMC           exitCheckOrder OMC
    setSoldOut OMC               listDiscrepancies OMCFV
    listAllRefunds OMCFV         getRefund OMCFV
    approveRefund OMF            rejectRefund OMF             retryRefund OMF         decidePayment OF
    getRefundPhotoForStaff OMCFV listPayments OMCFV
    startRefund OMC              requireReturn OMF            receiveReturn OMC
    uploadRefundProof OF         proposeRefundProof OF        proposeRefundGiveUp OF  proposeOrderClose OF
    listProposals OF             confirmProposal OF           declineProposal OF      lookUpRefund OF
    listRefundDiscrepancies OF   adoptRefundDiscrepancy OF    closeRefundDiscrepancy OF
    listAlerts OMF               closeAlert OMF
    listParkedNotices O          replayParkedNotice O
    listDeadLetters O            replayDeadLetter O           discardDeadLetter O
    getDeadLetter O              replayDeadLetters O
    getOutbox O                  listWaitingEvents O          listWaitingDeliveries O getEvent O
    listCaches O                 dropCache O                  traceRequest O          listAudit O
";

struct Operation {
    id: String,
    method: Method,
    /// With `{name}` for each parameter.
    path: String,
    description: String,
}

impl Operation {
    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Asks for it without a body: who passes the gate is refused for another reason, or reads.
    async fn ask(&self, client: &Client, values: &BTreeMap<&str, String>) -> Answer {
        let mut path = self.path.clone();
        for name in self.parameters() {
            let value = values.get(name).unwrap_or_else(|| panic!("no value for {name}"));
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let request = client.request(self.method.clone(), &path).header("Idempotency-Key", fresh_key());
        // The feed would go on for ever.
        let request = request.header("Last-Event-ID", "none");
        client.send(request).await
    }
}

/// Every operation that takes a staff member. Signing out comes last: the token is no good afterwards.
fn operations(app: &TestApp) -> Vec<Operation> {
    let document: Value = serde_json::from_str(&routes::documents(&app.app.surface).admin).expect("JSON");
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, spec) in methods.as_object().expect("operations") {
            if spec.pointer("/security/0/StaffToken").is_some() {
                let text = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
                let method = method.to_uppercase().parse().expect("a method");
                let (id, description) = (text("operationId"), text("description"));
                found.push(Operation { id, method, path: path.clone(), description });
            }
        }
    }
    found.sort_by_key(|operation| operation.id == "signOutStaff");
    assert!(found.len() > 40);
    found
}

/// An id of its kind that exists nowhere, for each parameter.
fn nowhere(operations: &[Operation]) -> BTreeMap<&str, String> {
    let kinds = [
        ("store_id", "sto"),
        ("order_id", "ord"),
        ("refund_id", "rfd"),
        ("attempt_id", "pay"),
        ("product_id", "prd"),
        ("sku_id", "sku"),
        ("template_id", "tpl"),
        ("coupon_id", "cpn"),
        ("user_id", "usr"),
        ("alert_id", "alt"),
        ("notice_id", "inb"),
        ("parcel_id", "par"),
        ("batch_id", "bat"),
        ("photo_id", "rph"),
        ("discrepancy_id", "dis"),
        ("proposal_id", "prp"),
        ("staff_id", "stf"),
        ("event_id", "evt"),
        ("session_id", "sts"),
        ("invitation_id", "inv"),
    ];
    let kinds = BTreeMap::from(kinds);
    let names = operations.iter().flat_map(Operation::parameters);
    names.map(|name| (name, format!("{}_{}", kinds.get(name).unwrap_or(&"xyz"), "z".repeat(26)))).collect()
}

fn matrix() -> BTreeMap<&'static str, &'static str> {
    let words: Vec<&str> = MATRIX.split_whitespace().collect();
    words.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

#[tokio::test]
async fn every_role_passes_to_exactly_the_operations_of_the_matrix() {
    let app = TestApp::new().await;
    let (operations, matrix) = (operations(&app), matrix());
    let values = nowhere(&operations);
    for role in Role::ALL {
        let member = app.member(*role, &[]).await;
        for operation in &operations {
            let place = format!("{role} {}", operation.id);
            let allowed = matrix.get(operation.id.as_str());
            let allowed = allowed.unwrap_or_else(|| panic!("{} has no row in the matrix", operation.id));
            let passes = allowed.contains(&role.as_str()[..1]);
            let answer = operation.ask(&member, &values).await;
            let refused = (answer.status, &answer.body["code"]) == (403, &json!("role_not_allowed"));
            assert_eq!(!refused, passes, "{place}: {}", answer.status);
            assert_ne!(answer.status, 401, "{place}");
            assert!(answer.status != 403 || refused, "{place}: {}", answer.body);
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn the_table_of_roles_has_every_operation_and_no_other_and_the_document_tells_it() {
    let app = TestApp::new().await;
    let operations = operations(&app);
    for operation in &operations {
        let id = &operation.id;
        let permission = permission_of(id).unwrap_or_else(|| panic!("{id} has no row in staff/roles.rs"));
        let told = operation.description.lines().find(|line| line.starts_with("May call it: "));
        let told = told.unwrap_or_else(|| panic!("{id} does not say who may call it"));
        for role in Role::ALL {
            let is_told = told.contains("every role") || told.contains(role.as_str());
            assert_eq!(is_told, permission.roles().contains(role), "{id}: {told}");
        }
        assert!(operation.description.contains("`role_not_allowed`"), "{id}");
    }
    for (id, _) in OPERATIONS {
        assert!(operations.iter().any(|operation| operation.id == *id), "{id} is no operation");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_outside_of_a_members_stores_is_not_found_by_any_operation() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let order = app.paid_order(&alice, &[(SKU, 2)]).await;
    let owner = app.staff().await;
    let order_id = order["id"].as_str().expect("an id");
    owner.post(&format!("/admin/v1/orders/{order_id}/ship"), &json!({})).await.ok();
    let refund = alice.refund(&order).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let operations = operations(&app);
    let mut values = nowhere(&operations);
    for (name, id) in [
        ("store_id", ONLINE_STORE.to_owned()),
        ("order_id", order_id.to_owned()),
        ("refund_id", text(&refund["id"])),
        ("attempt_id", text(&order["attempts"][0]["attempt_id"])),
        ("user_id", alice.id.clone()),
    ] {
        values.insert(name, id);
    }
    let elsewhere = "sto_00000000000000000000000002";
    for operation in &operations {
        let permission = permission_of(&operation.id).expect("a row");
        // An owner's stores are never limited.
        let Some(role) = permission.roles().iter().find(|role| **role != Role::Owner) else { continue };
        let outside = app.member(*role, &[elsewhere]).await;
        let answer = operation.ask(&outside, &values).await;
        let place = format!("{role} {}: {} {}", operation.id, answer.status, answer.body);
        let of_a_store = operation.parameters().any(|name| !OF_NO_STORE.contains(&name));
        if permission.is_of_whole_shop() {
            assert_eq!((answer.status, &answer.body["code"]), (403, &json!("stores_limited")), "{place}");
        } else if of_a_store {
            assert_eq!(answer.status, 404, "{place}");
            // The same as what does not exist anywhere.
            let missing = operation.ask(&outside, &nowhere(&operations)).await;
            assert_eq!((404, &answer.body["code"]), (missing.status, &missing.body["code"]), "{place}");
        } else {
            assert_ne!(answer.status, 403, "{place}");
        }
        // Whose stores they are passes.
        let inside = app.member(*role, &[elsewhere, ONLINE_STORE]).await;
        if of_a_store && !permission.is_of_whole_shop() {
            let answer = operation.ask(&inside, &values).await;
            let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
            let hidden = [
                "store_not_found",
                "order_not_found",
                "refund_not_found",
                "payment_not_found",
                "user_not_found",
            ];
            assert!(!hidden.contains(&code.as_str()), "{role} {}: {code}", operation.id);
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn lists_and_counts_are_of_the_members_stores_page_by_page() {
    let app = TestApp::new().await;
    let alice = app.user("alice").await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(app.paid_order(&alice, &[(SKU, 1)]).await["id"].as_str().expect("an id").to_owned());
        app.advance_minutes(1);
    }
    // The one in the middle is of another store.
    let (other, moved) = ("sto_00000000000000000000000002", &orders[1]);
    let write = app.ctx.db.write(|tx| {
        Box::pin(async move {
            let query = sqlx::query("UPDATE orders SET store_id = ? WHERE id = ?");
            Ok(query.bind(other).bind(moved).execute(&mut **tx).await?)
        })
    });
    write.await.expect("an order of another store");
    for order in &orders {
        let path = format!("/admin/v1/orders/{order}/ship");
        app.staff().await.post(&path, &json!({})).await.ok();
        let path = format!("/api/v1/orders/{order}/refunds");
        alice.client.post(&path, &json!({ "reason": "不想要了" })).await.ok();
    }

    let here = app.member(Role::Manager, &[ONLINE_STORE]).await;
    let there = app.member(Role::Viewer, &[other]).await;
    let ids = async |client: &Client, path: &str| -> Vec<String> {
        let list = client.get(path).await.ok();
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&here, "/admin/v1/orders").await, [orders[2].clone(), orders[0].clone()]);
    assert_eq!(ids(&there, "/admin/v1/orders").await, [orders[1].clone()]);
    let first = here.get("/admin/v1/orders?limit=1").await.ok();
    let next = first["next_cursor"].as_str().expect("a next page");
    assert_eq!(ids(&here, &format!("/admin/v1/orders?limit=1&cursor={next}")).await, [orders[0].clone()]);
    for list in ["orders?", "orders?number=x&", "pickups?stage=READY&"] {
        for name in ["store_id", "store%5Fid"] {
            let refused = here.get(&format!("/admin/v1/{list}{name}={other}")).await;
            refused.refused(404, "store_not_found");
            here.get(&format!("/admin/v1/{list}{name}={ONLINE_STORE}")).await.ok();
        }
    }
    assert!(ids(&here, &format!("/admin/v1/orders?number={moved}")).await.is_empty());
    assert_eq!(ids(&there, &format!("/admin/v1/orders?number={moved}")).await[0], *moved);
    assert_eq!(ids(&here, "/admin/v1/refunds").await.len(), 2);
    assert_eq!(ids(&there, "/admin/v1/refunds?status=REQUESTED").await.len(), 1);
    assert_eq!(ids(&here, "/admin/v1/stores").await, [ONLINE_STORE]);
    assert_eq!(ids(&there, "/admin/v1/stores").await, [other]);
    let todo = here.get("/admin/v1/todo").await.ok();
    assert_eq!((&todo["refunds_to_decide"], todo.get("alerts")), (&json!(2), None));
    assert_eq!(app.staff().await.get("/admin/v1/todo").await.ok()["refunds_to_decide"], 3);
    app.finish().await;
}
