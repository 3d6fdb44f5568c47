//! One row that can't be worked on: whatever else is due at the same moment comes to its end.

use minimall::config::BusBackend;
use minimall::sandbox::demo;
use serde_json::{Value, json};

use crate::support::{Client, SKU, TestApp, items, text};

impl TestApp {
    /// From now on this statement fails for the rows that fit, as if their page of the disk were gone.
    async fn break_rows(&self, statement: &str, rows: &str) {
        let trigger = if self.has_server() {
            format!("FOR EACH ROW IF {rows} THEN SIGNAL SQLSTATE '45000'; END IF")
        } else {
            format!("WHEN {rows} BEGIN SELECT RAISE(ABORT, 'a broken page'); END")
        };
        self.execute(&format!("CREATE TRIGGER broken BEFORE {statement} {trigger}")).await;
    }

    /// The disk is whole again, and leases have run out.
    async fn mend_rows(&self) {
        self.execute("DROP TRIGGER broken").await;
        self.live_through_minutes(1).await;
    }
}

async fn upload_state(staff: &Client, order: &Value) -> String {
    text(&staff.get(&format!("/admin/v1/orders/{}", text(order, "id"))).await.ok()["upload"], "state")
}

#[tokio::test]
async fn an_upload_that_can_not_be_worked_on_keeps_no_other_from_wechat() {
    let app = TestApp::new().await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(app.paid_order(&alice, &[(SKU, 1)]).await);
    }
    app.break_rows("UPDATE ON shipping_uploads", &format!("NEW.order_id = '{}'", text(&orders[1], "id")))
        .await;
    for (number, order) in orders.iter().enumerate() {
        let parcel = json!({ "carrier": "ZTO", "tracking_no": number.to_string() });
        staff.post(&format!("/admin/v1/orders/{}/ship", text(order, "id")), &parcel).await.ok();
    }
    app.drain().await;
    let mut states = Vec::new();
    for order in &orders {
        states.push(upload_state(&staff, order).await);
    }
    assert_eq!(states, ["ACCEPTED", "PENDING", "ACCEPTED", "ACCEPTED"]);
    app.mend_rows().await;
    assert_eq!(upload_state(&staff, &orders[1]).await, "ACCEPTED");
    app.finish().await;
}

#[tokio::test]
async fn a_settlement_that_can_not_be_worked_on_keeps_no_other_order_from_its_end() {
    // The shop itself would wait longer.
    let app = TestApp::with(|config| config.orders.complete_days = 30).await;
    let (alice, staff) = (app.user("alice").await, app.staff().await);
    let mut orders = Vec::new();
    for number in 0..3 {
        let order = app.paid_order(&alice, &[(SKU, 1)]).await;
        let parcel = json!({ "carrier": "ZTO", "tracking_no": number.to_string() });
        staff.post(&format!("/admin/v1/orders/{}/ship", text(&order, "id")), &parcel).await.ok();
        orders.push(order);
    }
    app.drain().await;
    app.at_wechat("UPDATE shipments SET confirm_due_ms = NULL, confirmed_ms = 1").await;
    let broken = format!("NEW.order_id = '{}'", text(&orders[0], "id"));
    app.break_rows("UPDATE ON shipping_uploads", &broken).await;
    app.advance_minutes(12 * 24 * 60);
    app.drain().await;
    let alice = app.user("alice").await;
    for (order, status) in orders.iter().zip(["SHIPPED", "COMPLETED", "COMPLETED"]) {
        assert_eq!(alice.get_order(order).await["status"], status);
    }
    app.mend_rows().await;
    assert_eq!(alice.get_order(&orders[0]).await["status"], "COMPLETED");
    app.finish().await;
}

#[tokio::test]
async fn a_message_that_can_not_be_worked_on_keeps_nobody_elses_from_being_sent() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    for user in [&alice, &bob] {
        app.allow(user, &[demo::TEMPLATE_PAID]).await;
    }
    app.break_rows("UPDATE ON messages", &format!("NEW.user_id = '{}'", alice.id)).await;
    for user in [&alice, &bob] {
        let order = user.order(&[(SKU, 1)]).await;
        let payment = user.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
    }
    app.drain().await;
    assert_eq!((app.messages(&alice).await.len(), app.messages(&bob).await.len()), (0, 1));
    app.mend_rows().await;
    assert_eq!(app.messages(&alice).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_notice_that_can_not_be_worked_on_keeps_no_other_payment_from_being_taken() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    app.break_rows("UPDATE ON inbox", "NEW.id = (SELECT MIN(id) FROM inbox)").await;
    let mut orders = Vec::new();
    for user in [&alice, &bob] {
        let order = user.order(&[(SKU, 1)]).await;
        let payment = user.start_payment(&order).await;
        app.pay_at_wechat(&payment).await;
        orders.push((user, order));
    }
    app.drain().await;
    let mut paid = 0;
    for (user, order) in &orders {
        paid += i32::from(user.get_order(order).await["status"] == "PAID");
    }
    assert_eq!(paid, 1, "the one whose notice is whole");
    app.mend_rows().await;
    for (user, order) in &orders {
        assert_eq!(user.get_order(order).await["status"], "PAID");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_that_can_not_be_recorded_keeps_no_other_from_its_handler() {
    let app = TestApp::new().await;
    // Through a broker they come as messages, and their rows are new.
    if app.ctx.config.bus.backend == BusBackend::Embedded {
        let users = [app.user("alice").await, app.user("bob").await, app.user("carol").await];
        let gifts = async || {
            let mut gifts = 0;
            for user in &users {
                gifts += items(&user.client.get("/api/v1/coupons").await.ok()).len();
            }
            gifts
        };
        app.break_rows("UPDATE ON deliveries", "NEW.event_id = (SELECT MIN(event_id) FROM deliveries)").await;
        app.drain().await;
        assert_eq!(gifts().await, 2, "of those whose events are whole");
        app.mend_rows().await;
        assert_eq!(gifts().await, 3);
    }
    app.finish().await;
}
