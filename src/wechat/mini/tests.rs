use std::sync::atomic::{AtomicUsize, Ordering};

use poem::Response;

use super::*;
use crate::wechat::test_server::{Call, hanging, nobody, serve};

fn mini(base_url: &str, clock: &Clock) -> Mini {
    let options = MiniOptions {
        base_url: base_url.to_owned(),
        appid: "wx1".into(),
        secret: "very secret".into(),
        timeout_ms: 400,
    };
    Mini::new(options, clock.clone()).unwrap()
}

fn json_answer(value: Value) -> Response {
    Response::builder().content_type("application/json").body(value.to_string())
}

fn clock() -> Clock {
    Clock::manual(1_800_000_000_000)
}

fn token_of(call: &Call) -> String {
    call.target.split("access_token=").nth(1).unwrap_or_default().to_owned()
}

/// Hands out t1, t2, …: the same until forced, or until `works` is another one.
async fn wechat(works: &'static str, lasts_s: i64) -> (String, crate::wechat::test_server::Seen) {
    let issued = AtomicUsize::new(1);
    serve(move |call| {
        let answer = if call.target.contains("stable_token") {
            if call.body.contains("\"force_refresh\":true") {
                issued.fetch_add(1, Ordering::SeqCst);
            }
            let token = format!("t{}", issued.load(Ordering::SeqCst));
            json!({ "access_token": token, "expires_in": lasts_s })
        } else if works.is_empty() || token_of(&call) == works {
            json!({ "errcode": 0, "errmsg": "ok", "delivery_list": [{ "delivery_id": "SF", "delivery_name": "顺丰" }] })
        } else {
            json!({ "errcode": 40001, "errmsg": "invalid credential rid: 0a-0b-0c" })
        };
        async move { json_answer(answer) }
    })
    .await
}

#[tokio::test]
async fn many_callers_share_one_token_until_it_nears_its_end() {
    let clock = clock();
    let (url, seen) = wechat("", 7_200).await;
    let mini = mini(&url, &clock);
    let calls = (0..8).map(|_| {
        let mini = mini.clone();
        tokio::spawn(async move { mini.delivery_companies().await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap()[0].id, "SF");
    }
    assert_eq!(seen.count("stable_token"), 1);
    clock.advance(7_200_000 - 300_000 - 1);
    mini.ping().await.unwrap();
    assert_eq!(seen.count("stable_token"), 1);
    clock.advance(1);
    mini.ping().await.unwrap();
    assert_eq!(seen.count("stable_token"), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_repeated_once() {
    let (url, seen) = wechat("t2", 7_200).await;
    let mini = mini(&url, &clock());
    mini.delivery_companies().await.unwrap();
    // First token, the same one again, a forced one; the call, and its repeat.
    assert_eq!((seen.count("stable_token"), seen.count("delivery")), (3, 2));
    mini.delivery_companies().await.unwrap();
    assert_eq!((seen.count("stable_token"), seen.count("delivery")), (3, 3));
}

#[tokio::test]
async fn a_token_that_is_refused_again_is_an_error_and_not_a_loop() {
    let (url, seen) = wechat("never", 7_200).await;
    let mini = mini(&url, &clock());
    let error = mini.delivery_companies().await.unwrap_err();
    assert_eq!(error, MiniError::Answer { errcode: 40001, errmsg: "invalid credential".into() });
    assert_eq!((seen.count("stable_token"), seen.count("delivery")), (3, 2));
    // Force is WeChat's scarce means: not again within the minute.
    mini.delivery_companies().await.unwrap_err();
    assert_eq!(seen.all().iter().filter(|call| call.body.contains("force_refresh\":true")).count(), 1);
    assert_eq!((seen.count("stable_token"), seen.count("delivery")), (4, 4));
}

#[tokio::test]
async fn a_short_lived_token_is_not_asked_for_at_every_call() {
    let (url, seen) = wechat("", 200).await;
    let mini = mini(&url, &clock());
    mini.ping().await.unwrap();
    mini.ping().await.unwrap();
    assert_eq!(seen.count("stable_token"), 1);
}

#[tokio::test]
async fn wechat_that_hangs_or_is_down_is_unreachable_after_a_bounded_wait() {
    let hangs = mini(&hanging().await, &clock());
    assert_eq!(hangs.code2session("c").await.unwrap_err(), MiniError::Unreachable(Cause::Timeout));
    assert_eq!(hangs.ping().await.unwrap_err(), MiniError::Unreachable(Cause::Timeout));
    let down = mini(&nobody().await, &clock());
    let error = down.code2session("the code").await.unwrap_err();
    assert!(matches!(error, MiniError::Unreachable(Cause::Connect(_))), "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("secret") && !text.contains("the%20code") && !text.contains("js_code"), "{text}");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_unreachable_and_refusals_keep_their_code() {
    let (url, _) = serve(|call| async move {
        let code =
            call.target.split("js_code=").nth(1).unwrap_or_default().split('&').next().unwrap_or_default();
        match code {
            "html" => Response::builder().body("<html>"),
            "busy" => Response::builder().status(poem::http::StatusCode::BAD_GATEWAY).body("{}"),
            "huge" => Response::builder().body(vec![b' '; 5 << 20]),
            "moved" => {
                Response::builder().status(poem::http::StatusCode::FOUND).header("location", "/").body("")
            }
            "used" => json_answer(json!({ "errcode": 40029, "errmsg": "invalid code, rid: 6a1-b2-c3" })),
            "half" => json_answer(json!({ "openid": "o1", "session_key": "" })),
            _ => json_answer(json!({ "openid": "o1", "session_key": "k", "unionid": "u" })),
        }
    })
    .await;
    let mini = mini(&url, &clock());
    for code in ["html", "busy", "huge", "moved", "half"] {
        assert!(mini.code2session(code).await.unwrap_err().is_unreachable(), "{code}");
    }
    let used = mini.code2session("used").await.unwrap_err();
    assert!(used.is_code_invalid() && used.to_string() == "WeChat answered 40029: invalid code", "{used}");
    let session = mini.code2session("fine").await.unwrap();
    assert_eq!((session.openid.as_str(), session.unionid.as_deref()), ("o1", Some("u")));
    assert_eq!(format!("{session:?}"), "MiniSession { .. }");
}

#[tokio::test]
async fn phone_numbers_images_and_uploads_are_read_by_their_own_rules() {
    let (url, seen) = serve(|call| async move {
        match call.target.split('?').next().unwrap_or_default() {
            "/cgi-bin/stable_token" => json_answer(json!({ "access_token": "t", "expires_in": 7200 })),
            "/wxa/business/getuserphonenumber" => {
                let appid = if call.body.contains("ours") { "wx1" } else { "wx2" };
                json_answer(
                    json!({ "errcode": 0, "phone_info": { "purePhoneNumber": "138", "phoneNumber": "138",
                    "countryCode": "86", "watermark": { "appid": appid, "timestamp": 1 } } }),
                )
            }
            "/wxa/getwxacodeunlimit" if call.body.contains("bad") => {
                json_answer(json!({ "errcode": 41030, "errmsg": "invalid page" }))
            }
            "/wxa/getwxacodeunlimit" => {
                Response::builder().content_type("image/jpeg").body(vec![0xff, 0xd8, 0xff])
            }
            _ => json_answer(json!({ "errcode": 10060023, "errmsg": "nothing changed" })),
        }
    })
    .await;
    let mini = mini(&url, &clock());
    assert_eq!(mini.phone_number("ours").await.unwrap().country_code, "86");
    assert!(mini.phone_number("theirs").await.unwrap_err().is_unreachable());
    let image = mini.qr_code_unlimited("s=1", Some("pages/index"), 430, "trial").await.unwrap();
    assert_eq!((image.content_type.as_str(), image.bytes.len()), ("image/jpeg", 3));
    assert!(seen.all().last().unwrap().body.contains("\"check_path\":false"));
    let refused = mini.qr_code_unlimited("s=1", Some("bad"), 430, "release").await.unwrap_err();
    assert_eq!(refused.errcode(), Some(41030));
    let info = ShippingInfo {
        order: OrderKey::Transaction { transaction_id: "4200".into() },
        logistics: Logistics::Pickup,
        split: false,
        all_delivered: true,
        parcels: Vec::new(),
        upload_ms: 0,
        openid: "o".into(),
    };
    mini.upload_shipping_info(&info).await.unwrap();
}
