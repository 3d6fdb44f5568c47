//! Coupons, by what happens to them. Here are the steps that the tests share.

mod claims;
mod grants;
mod orders;
mod staff;

use minimall::events::Event;
use minimall::platform::bus::{self, Staged};
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestApp, User};

const NEW_USER: &str = "tpl_00000000000000000000000001";
const CLAIMABLE: &str = "tpl_00000000000000000000000002";
const COMPENSATION: &str = "tpl_00000000000000000000000003";

fn cny(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

/// A template like ¥10 off from nothing, with some members changed; answers its id.
async fn template(staff: &Client, changes: Value) -> String {
    let made = staff.post("/admin/v1/coupon-templates", &template_body(changes)).await.ok();
    made["id"].as_str().expect("an id").to_owned()
}

fn template_body(changes: Value) -> Value {
    let mut body = json!({
        "name": "减10", "benefit": { "kind": "AMOUNT", "amount": cny(1_000) }, "threshold": cny(0),
        "issue": "GRANT", "validity": { "days": 30 },
    });
    for (name, value) in changes.as_object().expect("members") {
        body[name] = value.clone();
    }
    body
}

/// The staff gives the user a coupon; answers its id.
async fn grant(staff: &Client, user: &User, template: &str) -> String {
    let body = json!({ "template_id": template, "reason": "测试" });
    let made = staff.post(&format!("/admin/v1/users/{}/coupons", user.id), &body).await.ok();
    made["id"].as_str().expect("an id").to_owned()
}

async fn claim(user: &User, template: &str) -> Answer {
    user.client.post(&format!("/api/v1/coupon-templates/{template}/claims"), &json!({})).await
}

async fn void(staff: &Client, coupon: &str) -> Answer {
    staff.post(&format!("/admin/v1/coupons/{coupon}/void"), &json!({ "reason": "误发" })).await
}

async fn coupon(user: &User, id: &str) -> Value {
    let coupons = user.coupons().await;
    coupons.into_iter().find(|coupon| coupon["id"] == id).expect("the user's coupon")
}

/// The user's coupons of a template.
async fn coupons_of(user: &User, template: &str) -> Vec<Value> {
    user.coupons().await.into_iter().filter(|coupon| coupon["template_id"] == template).collect()
}

/// What happened to a coupon, in order: kind and status.
async fn moves(app: &TestApp, coupon: &str) -> Vec<(String, String)> {
    let conn = &mut *app.ctx.db.reader().await.expect("a reader");
    let query = "SELECT kind, from_status, to_status FROM coupon_moves WHERE coupon_id = ? ORDER BY at_ms";
    let mut left: Vec<(String, Option<String>, String)> =
        sqlx::query_as(query).bind(coupon).fetch_all(conn).await.expect("moves");
    // Several at the same moment: each begins where the one before it ended.
    let (mut at, mut moves) = (None, Vec::new());
    while !left.is_empty() {
        let next = left.iter().position(|(_, from, _)| *from == at).expect("a chain of moves");
        let (kind, _, to) = left.remove(next);
        at = Some(to.clone());
        moves.push((kind, to));
    }
    moves
}

/// The kinds of the moves alone.
async fn kinds(app: &TestApp, coupon: &str) -> Vec<String> {
    moves(app, coupon).await.into_iter().map(|(kind, _)| kind).collect()
}

/// Stages the event of a first login once more, as a producer that repeats itself does.
async fn register_again(app: &TestApp, user: &User) {
    let event = Event::UserRegistered { user_id: user.id.parse().expect("a user id") };
    let (ctx, event) = (&app.ctx, &event);
    ctx.db
        .write(|tx| Box::pin(async move { bus::stage(tx, ctx, event, Staged::Now).await }))
        .await
        .expect("staged");
}

/// Makes every delivery to this subscription pending again, as a broker that repeats itself does.
async fn deliver_again(app: &TestApp, subscription: &str) {
    let sql = format!("UPDATE deliveries SET state = 'PENDING' WHERE subscription = '{subscription}'");
    run_sql(app, sql).await;
}

/// Changes the database behind the program's back.
async fn run_sql(app: &TestApp, sql: String) {
    let sql = &sql;
    app.ctx
        .db
        .write(|tx| {
            Box::pin(async move {
                sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&mut **tx).await?;
                Ok(())
            })
        })
        .await
        .expect("the SQL runs");
}
