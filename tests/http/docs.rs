//! The OpenAPI documents: complete, true to the code and to the catalogue of errors, and their examples work
//! as they stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use minimall::app;
use regex::Regex;
use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Client, SKU, TestApp, WULIN, fresh_key};

/// What clients are promised: an `operationId` is what a typed client's function is called.
const APP_OPERATIONS: &str = "login refreshSession logout getMe updateMe setMyPhone deleteAccount listStores getStore \
    getStoreByScene listProducts getProduct getSkuByBarcode getCart putCartLine removeCartLine clearCart \
    listAddresses createAddress updateAddress deleteAddress createQuote placeOrder listOrders countOrders getOrder \
    getOrderByPayment getPickupQr cancelOrder confirmReceipt listPaymentMethods startPayment reportClientPaid requestRefund \
    listRefundReasons uploadRefundPhoto getRefundPhoto listRefunds withdrawRefund reportReturn listCoupons listClaimableCoupons claimCoupon listUsableCoupons \
    listSubscribeTemplates reportSubscribeGrants listNotices readNotice";

/// What a person does on the docs page, in this order; `pay` is the sandbox's page.
const APP_STORY: &str = "login deleteAccount login getMe updateMe setMyPhone createAddress listAddresses updateAddress listStores \
    getStore getStoreByScene listProducts getProduct getSkuByBarcode putCartLine getCart listClaimableCoupons \
    claimCoupon listCoupons listUsableCoupons listSubscribeTemplates reportSubscribeGrants createQuote placeOrder \
    listPaymentMethods startPayment pay reportClientPaid getOrder listOrders countOrders listNotices readNotice \
    listRefundReasons requestRefund listRefunds createQuote placeOrder cancelOrder removeCartLine clearCart refreshSession \
    deleteAddress logout";

/// The same for staff; `paid_order` is a customer who orders and pays, in whatever way.
const ADMIN_STORY: &str = "signInStaff getStaffMe listStores getStore updateStore createStore getStoreQrCode \
    listProducts getProduct updateProduct createProduct createSku updateSku listStock setOffer adjustStock \
    listStockMoves listCouponTemplates getCouponTemplate updateCouponTemplate createCouponTemplate paid_order \
    listAllOrders getOrderForStaff revealRecipients createShippingBatch listShippingBatches getShippingBatch \
    applyShippingBatch paid_order listAllOrders getOrderForStaff grantCoupon listUserCoupons voidCoupon listUsers \
    getUser listCarriers shipOrder getOrderForStaff correctTracking listFailedUploads retryFailedUploads \
    unpaid_order listAllOrders repriceOrder addOrderNote cancelOrderByStaff paid_pickup listPickups markOrderReady \
    verifyPickup handOverPickup in_store_order listAllOrders exitCheckOrder listDiscrepancies setSoldOut \
    pauseStore resumeStore getTodo listAllRefunds listPayments listProposals listRefundDiscrepancies paid_order \
    listAllOrders startRefund getRefund listDeadLetters listAlerts getOutbox listAudit inviteStaff \
    listStaffInvitations takeBackStaffInvitation inviteStaff listStaff acceptStaffInvitation getStaff changeStaffRole \
    disableStaff enableStaff listStaffSessions endStaffSessions listMyStaffSessions listCaches dropCache traceRequest \
    listWaitingEvents listWaitingDeliveries changeStaffPassword signOutStaff";

/// An operation with its place.
struct Operation {
    method: Method,
    path: String,
    spec: Value,
}

impl Operation {
    fn id(&self) -> &str {
        self.spec["operationId"].as_str().unwrap_or_default()
    }

    fn description(&self) -> &str {
        self.spec["description"].as_str().unwrap_or_default()
    }

    /// What a file that it takes looks like.
    fn file_example(&self) -> Option<&str> {
        self.spec.pointer("/requestBody/content/text~1csv/schema/example")?.as_str()
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.spec["parameters"].as_array().into_iter().flatten()
    }
}

/// A document as the server serves it.
struct Document(Value);

impl Document {
    async fn fetch(app: &TestApp, name: &str) -> Self {
        Self(app.client().get(&format!("/openapi/{name}.json")).await.ok())
    }

    fn operations(&self) -> Vec<Operation> {
        let paths = self.0["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().expect("methods").iter().map(|(method, spec)| Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                spec: spec.clone(),
            })
        });
        operations.collect()
    }

    fn operation(&self, id: &str) -> Operation {
        let mut all = self.operations();
        let at = all.iter().position(|operation| operation.id() == id);
        all.swap_remove(at.unwrap_or_else(|| panic!("no operation {id}")))
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
            Some(pointer) => self.0.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")),
            None => schema,
        }
    }

    /// What Swagger UI fills in for a parameter: its example, or the first word that a required one may have.
    fn example_of(&self, parameter: &Value) -> Option<String> {
        let words = &self.resolve(&parameter["schema"])["enum"];
        let example = match &parameter["example"] {
            Value::Null if parameter["required"] == true => &words[0],
            example => example,
        };
        match example {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    fn body_schema(&self, operation: &Operation) -> Option<&Value> {
        let pointer = "/requestBody/content/application~1json/schema";
        let name = operation.spec.pointer(pointer)?["$ref"].as_str()?.strip_prefix('#')?.to_owned();
        self.0.pointer(&name)
    }

    /// Where a value does not fit a schema, and why.
    fn misfits(&self, at: &str, value: &Value, schema: &Value, found: &mut Vec<String>) {
        let schema = self.resolve(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.misfits(at, value, part, found);
        }
        let fits_type = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        let one_of = schema["enum"].as_array();
        let long = value.as_str().map(|text| text.chars().count() as u64);
        let many = value.as_array().map(|items| items.len() as u64);
        let above = |limit: &str, size: Option<u64>| size > schema[limit].as_u64().or(size);
        let below = |limit: &str, size: Option<u64>| size < schema[limit].as_u64().or(size);
        let number = value.as_f64();
        let rules = [
            (fits_type, "type"),
            (one_of.is_none_or(|words| words.contains(value)), "enum"),
            (!above("maxLength", long) && !below("minLength", long), "length"),
            (!above("maxItems", many) && !below("minItems", many), "items"),
            (number >= schema["minimum"].as_f64().or(number), "minimum"),
            (number <= schema["maximum"].as_f64().or(number), "maximum"),
            (matches_pattern(schema, value), "pattern"),
        ];
        found.extend(rules.iter().filter(|(holds, _)| !holds).map(|(_, rule)| format!("{at}: {rule}")));
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                found.push(format!("{at}/{name}: required"));
            }
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(name) {
                Some(property) => self.misfits(&format!("{at}/{name}"), inner, property, found),
                None if schema["allOf"].is_null() && schema["properties"].is_object() => {
                    found.push(format!("{at}/{name}: unknown"));
                }
                None => {}
            }
        }
        for inner in value.as_array().into_iter().flatten() {
            self.misfits(&format!("{at}/0"), inner, &schema["items"], found);
        }
    }
}

fn matches_pattern(schema: &Value, value: &Value) -> bool {
    match (schema["pattern"].as_str(), value.as_str()) {
        (Some(pattern), Some(text)) => Regex::new(pattern).expect("a pattern").is_match(text),
        _ => true,
    }
}

async fn both(app: &TestApp) -> [(&'static str, Document); 2] {
    [("app", Document::fetch(app, "app").await), ("admin", Document::fetch(app, "admin").await)]
}

#[tokio::test]
async fn every_operation_says_what_it_does_how_it_refuses_and_who_may_call_it() {
    let app = TestApp::new().await;
    for (name, document) in both(&app).await {
        let mut ids = BTreeSet::new();
        for operation in document.operations() {
            let (id, spec) = (operation.id(), &operation.spec);
            let place = format!("{name}: {} {} ({id})", operation.method, operation.path);
            assert!(!id.is_empty() && ids.insert(id.to_owned()), "{place}: an operationId of its own");
            let summary = spec["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty() && summary.len() < 80, "{place}: a summary");
            let (says, errors) = operation.description().split_once("Errors: ").unwrap_or_default();
            assert!(!says.trim().is_empty(), "{place}: says what it changes");
            assert!(errors.contains('`'), "{place}: names its errors");
            assert_eq!(spec["tags"].as_array().map(Vec::len), Some(1), "{place}: belongs to one group");
            let refused = spec.pointer("/responses/default/content/application~1problem+json/schema/$ref");
            assert_eq!(refused.and_then(Value::as_str), Some("#/components/schemas/Problem"), "{place}");
            let open = ["login", "refreshSession", "signInStaff", "acceptStaffInvitation"].contains(&id);
            let scheme = if name == "app" { "UserToken" } else { "StaffToken" };
            let asked =
                spec["security"].as_array().is_some_and(|any| any.iter().any(|s| s[scheme].is_array()));
            assert_eq!(asked, !open, "{place}: asks for {scheme} unless it hands the token out");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn what_decides_about_payments_and_orders_is_found_beside_them() {
    let app = TestApp::new().await;
    let document = Document::fetch(&app, "admin").await;
    for (id, group) in
        [("decidePayment", "Payments"), ("proposeOrderClose", "Orders"), ("listProposals", "Operations")]
    {
        assert_eq!(document.operation(id).spec["tags"][0], group, "{id}");
    }
    app.finish().await;
}

#[tokio::test]
async fn every_error_that_is_named_is_in_the_catalogue_once_with_one_status() {
    let codes = app::codes();
    let mut statuses = BTreeMap::new();
    for code in &codes {
        let before = statuses.insert(code.code, code.status);
        assert!(before.is_none(), "{} is in the catalogue twice", code.code);
        assert!((400..600).contains(&code.status) && !code.detail.is_empty(), "{}", code.code);
    }
    let app = TestApp::new().await;
    let word = Regex::new("`([a-z][a-z0-9_]*)`").expect("a pattern");
    for (name, document) in both(&app).await {
        for operation in document.operations() {
            let (_, errors) = operation.description().split_once("Errors: ").unwrap_or_default();
            for code in word.captures_iter(errors).map(|found| found[1].to_owned()) {
                assert!(statuses.contains_key(&*code), "{name}: {} names {code}", operation.id());
            }
        }
    }
    let page = app.client().get("/docs/errors").await;
    let page = String::from_utf8_lossy(&page.bytes).into_owned();
    for code in &codes {
        assert!(page.contains(&format!("id=\"{}\"", code.code)), "{} is explained in the docs", code.code);
    }
    app.finish().await;
}

#[tokio::test]
async fn the_operations_that_clients_are_promised_exist() {
    let app = TestApp::new().await;
    let document = Document::fetch(&app, "app").await;
    for id in APP_OPERATIONS.split_whitespace() {
        document.operation(id);
    }
    app.finish().await;
}

#[tokio::test]
async fn the_openapi_files_are_what_the_code_says() {
    let app = TestApp::new().await;
    for name in ["app", "admin"] {
        let path = format!("{}/openapi/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}; run `minimall openapi`"));
        let served = app.client().get(&format!("/openapi/{name}.json")).await;
        assert!(file == served.bytes, "{path} differs from the code; run `minimall openapi`");
    }
    app.finish().await;
}

#[tokio::test]
async fn every_request_has_an_example_that_fits_its_own_schema() {
    let app = TestApp::new().await;
    for (name, document) in both(&app).await {
        for operation in document.operations() {
            // A picture has no shape to hold an example against.
            let is_picture = operation.spec.pointer("/requestBody/content/image~1png").is_some();
            if operation.spec.get("requestBody").is_none() || is_picture {
                continue;
            }
            let place = format!("{name}: {}", operation.id());
            if let Some(file) = operation.file_example() {
                assert!(file.lines().count() > 1, "{place}: a file with a row");
                continue;
            }
            let schema = document.body_schema(&operation).unwrap_or_else(|| panic!("{place}: a named body"));
            let example = schema.get("example").unwrap_or_else(|| panic!("{place}: an example"));
            let mut misfits = Vec::new();
            document.misfits("", example, schema, &mut misfits);
            assert!(misfits.is_empty(), "{place}: {misfits:?} in {example}");
        }
    }
    app.finish().await;
}

/// What the docs page keeps in mind while somebody tries things.
struct Visitor {
    document: Document,
    client: Client,
    /// The last id of each kind, by its prefix.
    ids: HashMap<String, String>,
    /// The last text of a name: `quote_token`, `refresh_token`.
    texts: HashMap<String, String>,
    versions: HashMap<String, Value>,
    last: Value,
}

impl Visitor {
    async fn open(app: &TestApp, name: &str) -> Self {
        let document = Document::fetch(app, name).await;
        let (ids, texts, versions) = Default::default();
        Self { document, client: app.client(), ids, texts, versions, last: Value::Null }
    }

    fn learn(&mut self, value: &Value) {
        if let (Some(id), Some(version)) = (value["id"].as_str(), value.get("version")) {
            self.versions.insert(id.to_owned(), version.clone());
        }
        for inner in value.as_array().into_iter().flatten().rev() {
            self.learn(inner);
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            match inner.as_str() {
                Some(text) if text.len() == 30 && !text.contains(&"0".repeat(20)) => {
                    self.ids.insert(text.split('_').next().unwrap_or_default().to_owned(), text.to_owned());
                }
                Some(text) => drop(self.texts.insert(name.clone(), text.to_owned())),
                None => self.learn(inner),
            }
        }
    }

    fn fill(&self, text: &str) -> String {
        let zeros = Regex::new("([a-z]{3})_0{26}").expect("a pattern");
        let filled = zeros.replace_all(text, |found: &regex::Captures<'_>| {
            self.ids.get(&found[1]).cloned().unwrap_or_else(|| found[0].to_owned())
        });
        let text_of = |name: &str| self.texts.get(name).cloned().unwrap_or_default();
        filled
            .replace("the quote_token of POST /quotes", &text_of("quote_token"))
            .replace("the refresh_token of POST /sessions", &text_of("refresh_token"))
            .replace("the invitation_token of POST /staff-invitations", &text_of("invitation_token"))
            .replace("the code on the phone", &text_of("code on the phone"))
    }

    /// Presses Execute.
    async fn execute(&mut self, id: &str) -> Answer {
        let operation = self.document.operation(id);
        let (mut path, mut query, mut keyed) = (operation.path.clone(), Vec::new(), false);
        for parameter in operation.parameters() {
            let name = parameter["name"].as_str().expect("a name");
            let example = self.document.example_of(parameter);
            let filled = example.map(|example| self.fill(&example));
            match (parameter["in"].as_str(), filled) {
                (Some("path"), Some(value)) => path = path.replace(&format!("{{{name}}}"), &value),
                (Some("query"), Some(value)) => query.push(format!("{name}={value}")),
                (Some("header"), Some(_)) if name == "Idempotency-Key" => keyed = true,
                (_, None) if parameter["required"] == true => panic!("{id}: no example of {name}"),
                _ => {}
            }
        }
        let mut request =
            self.client.request(operation.method.clone(), &format!("{path}?{}", query.join("&")));
        if keyed {
            request = request.header("Idempotency-Key", format!("{}-long-enough-for-all", fresh_key()));
        }
        if let Some(schema) = self.document.body_schema(&operation) {
            let mut body: Value =
                serde_json::from_str(&self.fill(&schema["example"].to_string())).expect("JSON");
            let known =
                self.versions.iter().find(|(id, _)| path.contains(&***id) && !path.contains("/offers/"));
            if let (Some((_, version)), Some(named)) = (known, body.get_mut("version")) {
                *named = version.clone();
            }
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        if let Some(file) = operation.file_example() {
            request = request.header("Content-Type", "text/csv").body(self.fill(file));
        }
        let answer = self.client.send(request).await;
        assert!(
            answer.status < 300,
            "{id} {path}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.bytes)
        );
        let token = answer.body["token"].as_str().map(str::to_owned);
        self.client.token = token.or(self.client.token.take());
        self.learn(&answer.body);
        self.last = answer.body.clone();
        answer
    }
}

#[tokio::test]
async fn the_examples_of_the_mini_program_walk_through_the_story_as_they_stand() {
    let app = TestApp::new().await;
    let mut visitor = Visitor::open(&app, "app").await;
    for id in APP_STORY.split_whitespace() {
        if id == "pay" {
            app.pay_at_wechat(&visitor.last).await;
        } else {
            visitor.execute(id).await;
        }
        app.drain().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_examples_of_store_management_work_as_they_stand() {
    // The password of the README's tour, which the example of the sign-in has.
    let app = TestApp::with(|config| config.admin.initial_password = "west-lake-tour".to_owned()).await;
    let customer = app.user("alice").await;
    let mut visitor = Visitor::open(&app, "admin").await;
    for id in ADMIN_STORY.split_whitespace() {
        let lines = [(SKU, 1)];
        match id {
            "paid_order" => drop(app.paid_order(&customer, &lines).await),
            "unpaid_order" => drop(customer.order(&lines).await),
            "in_store_order" => drop(app.paid_in(&customer, WULIN, "IN_STORE", &lines).await),
            "paid_pickup" => {
                let order = app.paid_in(&customer, WULIN, "PICKUP", &lines).await;
                visitor.texts.insert("code on the phone".to_owned(), customer.code(&order).await);
            }
            _ => drop(visitor.execute(id).await),
        }
        app.drain().await;
    }
    app.finish().await;
}
