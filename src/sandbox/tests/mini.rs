use serde_json::{Value, json};

use super::support::World;
use crate::kernel::{day_ms, minute_ms};
use crate::platform::crypto;
use crate::sandbox::demo;

#[tokio::test]
async fn codes_are_single_use_live_five_minutes_and_keep_to_their_family() {
    let world = World::new().await;
    let hand_out = |path: &'static str, body: Value| {
        let world = &world;
        async move { world.plain("POST", path, Some(body)).await.1["code"].as_str().unwrap().to_owned() }
    };
    let code = hand_out("/sandbox/login-codes", json!({})).await;
    assert!(world.code2session(&code).await["session_key"].is_string());
    let used = world.code2session(&code).await;
    assert_eq!(used["errcode"], 40029);
    assert!(used["errmsg"].as_str().unwrap().contains(" rid: "));

    let late = hand_out("/sandbox/login-codes", json!({})).await;
    world.clock.advance(minute_ms(5));
    assert_eq!(world.code2session(&late).await["errcode"], 40029);

    let openid = world.openid().await;
    assert_eq!(world.openid().await, openid, "a demo name is always the same user");
    let phone_code =
        hand_out("/sandbox/phone-codes", json!({ "openid": openid, "phone": "13800000000" })).await;
    assert_eq!(world.code2session(&phone_code).await["errcode"], 40029);
    let target = format!("/wxa/business/getuserphonenumber?access_token={}", world.token().await);
    let ask = |code: &str| world.plain("POST", &target, Some(json!({ "code": code })));
    assert_eq!(ask(&phone_code).await.1["phone_info"]["purePhoneNumber"], "13800000000");
    assert_eq!(ask(&phone_code).await.1["errcode"], 40029);
    assert_eq!(ask("demo-phone:13900000000").await.1["errcode"], 0);
}

#[tokio::test]
async fn a_stable_token_stays_the_same_and_a_forced_one_kills_it() {
    let world = World::new().await;
    let first = world.token().await;
    world.clock.advance(minute_ms(1));
    assert_eq!(world.token().await, first);
    let list = |token: &str| {
        let target = format!("/cgi-bin/express/delivery/open_msg/get_delivery_list?access_token={token}");
        let world = &world;
        async move { world.plain("POST", &target, Some(json!({}))).await.1["errcode"].clone() }
    };
    assert_eq!(list(&first).await, 0);
    let body = json!({ "grant_type": "client_credential", "appid": demo::APPID, "secret": demo::APP_SECRET,
        "force_refresh": true });
    let (_, forced) = world.plain("POST", "/cgi-bin/stable_token", Some(body)).await;
    assert_ne!(forced["access_token"], json!(first));
    assert_eq!(list(&first).await, 42001);
    assert_eq!(list(&"x".repeat(100)).await, 40001);
    assert_eq!(list("x").await, 40014);
    world.fault(json!({ "kind": "token_expired" })).await;
    assert_eq!(list(forced["access_token"].as_str().unwrap()).await, 42001);
}

#[tokio::test]
async fn a_message_needs_a_grant_and_values_in_their_limits() {
    let world = World::new().await;
    let openid = world.openid().await;
    let target = format!("/cgi-bin/message/subscribe/send?access_token={}", world.token().await);
    let message = |thing: &str| {
        json!({ "touser": openid, "template_id": demo::TEMPLATE_PAID, "page": "pages/order?id=1", "data": {
            "character_string1": { "value": "ord_1" }, "thing2": { "value": thing },
            "amount3": { "value": "¥19.90" }, "time4": { "value": "2026-11-21 12:00" },
            "thing5": { "value": "谢谢" },
        }})
    };
    let send = |body: Value| {
        let (world, target) = (&world, &target);
        async move { world.plain("POST", target, Some(body)).await.1["errcode"].clone() }
    };
    assert_eq!(send(message("苹果")).await, 43101);
    let grant = json!({ "openid": openid, "template_ids": [demo::TEMPLATE_PAID] });
    assert_eq!(world.plain("POST", "/sandbox/subscribe-grants", Some(grant)).await.0, 200);
    assert_eq!(send(message(&"很".repeat(21))).await, 47003);
    assert_eq!(send(message("苹果")).await, 0);
    assert_eq!(send(message("苹果")).await, 43101);
    let (_, phone) = world.plain("GET", &format!("/sandbox/messages?openid={openid}"), None).await;
    assert_eq!(phone[0]["values"][1]["value"], "苹果");
    assert_eq!(phone.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn shipping_moves_the_money_and_tells_the_shop() {
    let world = World::new().await;
    let openid = world.openid().await;
    world.paid("order-000101").await;
    world.sandbox.tick().await;
    world.shop.take();
    let target = format!("/wxa/sec/order/upload_shipping_info?access_token={}", world.token().await);
    let upload = |number: &str, tracking: &str, all: bool| {
        json!({ "order_key": { "order_number_type": 1, "mchid": demo::MCHID, "out_trade_no": number },
            "logistics_type": 1, "delivery_mode": 2, "is_all_delivered": all,
            "shipping_list": [{ "tracking_no": tracking, "express_company": "ZTO", "item_desc": "苹果" }],
            "upload_time": "2026-09-22T13:29:35.120+08:00", "payer": { "openid": openid } })
    };
    let send = |body: Value| {
        let (world, target) = (&world, &target);
        async move { world.plain("POST", target, Some(body)).await.1["errcode"].clone() }
    };
    assert_eq!(send(upload("order-unknown", "T1", true)).await, 10060001);
    assert_eq!(send(upload("order-000101", "T1", false)).await, 0);
    assert_eq!(send(upload("order-000101", "T1", false)).await, 10060023);
    assert_eq!(world.sandbox.tick().await, 0);
    assert_eq!(send(upload("order-000101", "T2", true)).await, 0);
    assert_eq!(send(upload("order-000101", "T3", true)).await, 0, "one more is a re-ship");
    assert_eq!(send(upload("order-000101", "T4", true)).await, 10060003);
    assert_eq!(world.sandbox.tick().await, 1, "the settlement that shipping lets expect");
    world.clock.advance(day_ms(10));
    world.sandbox.tick().await;
    let pushes = world.shop.take();
    assert_eq!(pushes.len(), 2);
    let settled = opened(&pushes[1].body, &pushes[1].target);
    assert_eq!(settled["Event"], "trade_manage_order_settlement");
    assert_eq!(settled["confirm_receive_method"], 1);
    let target = format!("/wxa/sec/order/upload_shipping_info?access_token={}", world.token().await);
    let (_, late) = world.plain("POST", &target, Some(upload("order-000101", "T5", true))).await;
    assert_eq!(late["errcode"], 10060004);
}

/// Checks the signature of a push and opens it.
fn opened(body: &Value, target: &str) -> Value {
    let query = |name: &str| {
        let pair = target.split(['?', '&']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.unwrap_or_default().to_owned()
    };
    let encrypted = body["Encrypt"].as_str().unwrap();
    let mut parts = [demo::PUSH_TOKEN.to_owned(), query("timestamp"), query("nonce"), encrypted.to_owned()];
    parts.sort();
    assert_eq!(query("msg_signature"), crypto::hex(&crypto::sha1(parts.concat().as_bytes())));
    let key = crypto::from_base64(&format!("{}=", demo::PUSH_ENCODING_AES_KEY)).unwrap();
    let frame =
        crypto::aes_cbc_open_unpadded(&key, &key[..16], &crypto::from_base64(encrypted).unwrap()).unwrap();
    let length = u32::from_be_bytes(frame[16..20].try_into().unwrap()) as usize;
    assert!(frame[20 + length..].starts_with(demo::APPID.as_bytes()));
    serde_json::from_slice(&frame[20..20 + length]).unwrap()
}

#[tokio::test]
async fn a_scene_becomes_a_real_jpeg() {
    let world = World::new().await;
    let target =
        format!("{}/wxa/getwxacodeunlimit?access_token={}", world.sandbox.url(), world.token().await);
    let request = |scene: &str| {
        world
            .http
            .post(&target)
            .header("Content-Type", "application/json")
            .body(json!({ "scene": scene, "page": "pages/store" }).to_string())
    };
    let image = request("s=sto_1").send().await.unwrap();
    assert_eq!(image.headers()["content-type"], "image/jpeg");
    assert!(image.bytes().await.unwrap().starts_with(&[0xFF, 0xD8]));
    let refused: Value =
        serde_json::from_slice(&request("百分").send().await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!(refused["errcode"], 40129);
}
