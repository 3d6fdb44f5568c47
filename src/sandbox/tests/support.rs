//! A sandbox on a manual clock, a merchant that signs, and a shop that listens for callbacks.

use std::sync::{Arc, Mutex};

use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};

use crate::kernel::Clock;
use crate::platform::crypto::{self, RsaSigner, RsaVerifier};
use crate::sandbox::{Options, Sandbox, demo};

pub const NOW_MS: i64 = 1_790_000_000_000;

/// What an answer to a signed call was.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    pub raw: Vec<u8>,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Is it signed with the WeChat Pay public key's counterpart?
    pub fn is_signed_by_public_key(&self) -> bool {
        let mut message =
            format!("{}\n{}\n", self.header("Wechatpay-Timestamp"), self.header("Wechatpay-Nonce"))
                .into_bytes();
        message.extend_from_slice(&self.raw);
        message.push(b'\n');
        let key = RsaVerifier::from_pem(demo::PUBLIC_KEY_PEM).unwrap();
        self.header("Wechatpay-Serial") == demo::PUBLIC_KEY_ID
            && key.verify(&message, self.header("Wechatpay-Signature")).is_ok()
    }
}

pub struct World {
    pub sandbox: Sandbox,
    pub clock: Clock,
    pub shop: Shop,
    pub http: reqwest::Client,
    signer: RsaSigner,
}

impl World {
    pub async fn new() -> Self {
        Self::with_database(":memory:").await
    }

    pub async fn with_database(database: &str) -> Self {
        let clock = Clock::manual(NOW_MS);
        let shop = Shop::start().await;
        let sandbox = Sandbox::start(Options {
            listen: "127.0.0.1:0".to_owned(),
            database: database.to_owned(),
            clock: clock.clone(),
            clock_is_shared: true,
            shop_url: Some(shop.url.clone()),
            push_url: Some(format!("{}/push", shop.url)),
        })
        .await
        .unwrap();
        let signer = RsaSigner::from_pem(demo::MERCHANT_PRIVATE_KEY_PEM).unwrap();
        Self { sandbox, clock, shop, http: reqwest::Client::new(), signer }
    }

    /// A signed call of the merchant. `spoil` sees the Authorization header before it goes out.
    pub async fn call_spoiled(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        spoil: impl FnOnce(String) -> String,
    ) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let timestamp = self.clock.now_s();
        let nonce = crypto::hex(&crypto::random::<16>());
        let signature =
            self.signer.sign(format!("{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n").as_bytes());
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 signature=\"{signature}\",mchid=\"{}\",nonce_str=\"{nonce}\",\
             serial_no=\"{}\",timestamp=\"{timestamp}\"",
            demo::MCHID,
            demo::MERCHANT_SERIAL,
        );
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{target}", self.sandbox.url()))
            .header("Authorization", spoil(authorization))
            .header("Accept", "application/json")
            .header("User-Agent", "test")
            .header("Wechatpay-Serial", demo::PUBLIC_KEY_ID);
        if !body.is_empty() {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let raw = response.bytes().await.unwrap().to_vec();
        Answer { status, headers, body: serde_json::from_slice(&raw).unwrap_or_default(), raw }
    }

    pub async fn post(&self, target: &str, body: Value) -> Answer {
        self.call_spoiled("POST", target, Some(&body), |header| header).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.call_spoiled("GET", target, None, |header| header).await
    }

    /// An unsigned call, to the mini-program API or to the controls.
    pub async fn plain(&self, method: &str, target: &str, body: Option<Value>) -> (u16, Value) {
        let mut request =
            self.http.request(method.parse().unwrap(), format!("{}{target}", self.sandbox.url()));
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    pub async fn fault(&self, fault: Value) {
        let (status, _) = self.plain("POST", "/sandbox/faults", Some(fault)).await;
        assert_eq!(status, 200);
    }

    pub async fn code2session(&self, code: &str) -> Value {
        let target = format!(
            "/sns/jscode2session?appid={}&secret={}&js_code={code}&grant_type=authorization_code",
            demo::APPID,
            demo::APP_SECRET
        );
        self.plain("GET", &target, None).await.1
    }

    pub async fn openid(&self) -> String {
        self.code2session("demo:li").await["openid"].as_str().unwrap().to_owned()
    }

    pub async fn token(&self) -> String {
        let body =
            json!({ "grant_type": "client_credential", "appid": demo::APPID, "secret": demo::APP_SECRET });
        let (_, answer) = self.plain("POST", "/cgi-bin/stable_token", Some(body)).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// The body of a prepay of 1000 fen.
    pub fn prepay_body(&self, number: &str, openid: &str) -> Value {
        json!({
            "appid": demo::APPID, "mchid": demo::MCHID, "description": "苹果 2 斤", "out_trade_no": number,
            "notify_url": format!("{}/notify", self.shop.url), "amount": { "total": 1000, "currency": "CNY" },
            "payer": { "openid": openid },
        })
    }

    pub async fn prepay(&self, number: &str) -> String {
        let openid = self.openid().await;
        let answer = self.post("/v3/pay/transactions/jsapi", self.prepay_body(number, &openid)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["prepay_id"].as_str().unwrap().to_owned()
    }

    pub async fn paid(&self, number: &str) -> String {
        let prepay_id = self.prepay(number).await;
        let (status, answer) = self
            .plain("POST", &format!("/sandbox/payments/{prepay_id}/pay"), Some(json!({ "unchecked": true })))
            .await;
        assert_eq!(status, 200, "{answer}");
        prepay_id
    }

    pub async fn state(&self, number: &str) -> String {
        let target = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", demo::MCHID);
        self.get(&target).await.body["trade_state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn sign(&self, message: &str) -> String {
        self.signer.sign(message.as_bytes())
    }
}

/// A callback that arrived.
#[derive(Clone)]
pub struct Callback {
    pub target: String,
    pub body: Value,
}

impl Callback {
    /// The decrypted resource of a payment or refund notification.
    pub fn plain(&self) -> Value {
        let resource = &self.body["resource"];
        let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
        let plain = crypto::aes_gcm_open(
            demo::APIV3_KEY.as_bytes(),
            text("nonce").as_bytes(),
            text("associated_data").as_bytes(),
            &crypto::from_base64(&text("ciphertext")).unwrap(),
        );
        serde_json::from_slice(&plain.unwrap()).unwrap()
    }
}

/// The shop: writes callbacks down and answers what it is told to.
#[derive(Clone)]
pub struct Shop {
    pub url: String,
    pub callbacks: Arc<Mutex<Vec<Callback>>>,
    pub answers: Arc<Mutex<u16>>,
}

impl Shop {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shop = Self { url, callbacks: Arc::default(), answers: Arc::new(Mutex::new(200)) };
        let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
        let serving = shop.clone();
        tokio::spawn(async move { poem::Server::new_with_acceptor(acceptor).run(serving).await });
        shop
    }

    pub fn answer_with(&self, status: u16) {
        *self.answers.lock().unwrap() = status;
    }

    pub fn take(&self) -> Vec<Callback> {
        std::mem::take(&mut self.callbacks.lock().unwrap())
    }
}

impl Endpoint for Shop {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let target = request.original_uri().to_string();
        let body = request.into_body().into_vec().await?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.callbacks.lock().unwrap().push(Callback { target, body });
        let status = StatusCode::from_u16(*self.answers.lock().unwrap()).unwrap();
        Ok(status.into())
    }
}
