//! Every operation of both documents is sent hostile values, one place at a time.

use minimall::routes;
use reqwest::Method;
use serde_json::{Value, json};

use super::is_problem;
use crate::support::{Answer, Client, ONLINE_STORE, TestApp};

/// An operation as its document describes it.
struct Operation {
    method: Method,
    path: String,
    parameters: Vec<Value>,
    /// The resolved schema of its JSON body.
    body: Option<Value>,
}

struct Document(Value);

impl Document {
    fn resolved(&self, schema: &Value) -> Value {
        let target = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        match target.and_then(|name| self.0.pointer(name.trim_start_matches('#'))) {
            Some(found) => found.clone(),
            None => schema.clone(),
        }
    }

    fn operations(&self) -> Vec<Operation> {
        let mut found = Vec::new();
        for (path, operations) in self.0["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let body = operation.pointer("/requestBody/content/application~1json/schema");
                found.push(Operation {
                    method: method.to_uppercase().parse().expect("a method"),
                    path: path.clone(),
                    parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                    body: body.map(|schema| self.resolved(schema)),
                });
            }
        }
        found
    }
}

impl Operation {
    /// The path with its examples filled in, one parameter replaced, and a query.
    fn url(&self, replaced: Option<(&str, &str)>, query: &str) -> String {
        let mut url = self.path.clone();
        for parameter in self.parameters.iter().filter(|parameter| parameter["in"] == "path") {
            let name = parameter["name"].as_str().expect("a name");
            let value = match replaced {
                Some((other, value)) if other == name => value,
                _ => parameter["example"].as_str().unwrap_or("x"),
            };
            url = url.replace(&format!("{{{name}}}"), value);
        }
        if query.is_empty() { url } else { format!("{url}?{query}") }
    }

    /// The query that the operation needs at least; more can be written behind it.
    fn needed(&self) -> String {
        let required = |parameter: &&Value| parameter["in"] == "query" && parameter["required"] == true;
        let pair = |parameter: &Value| {
            let name = parameter["name"].as_str().expect("a name");
            let value = if name == "store_id" { ONLINE_STORE } else { "1" };
            format!("{name}={value}&")
        };
        self.parameters.iter().filter(required).map(pair).collect()
    }

    async fn ask(&self, client: &Client, url: &str, body: Option<&Value>) -> Answer {
        static KEYS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let key = KEYS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = format!("a-key-that-is-long-enough-{key}");
        let mut request = client.request(self.method.clone(), url).header("Idempotency-Key", key);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = client.send(request).await;
        assert!(answer.status < 500, "{} {url} {body:?}: {answer:?}", self.method);
        if answer.status >= 400 {
            is_problem(&answer);
        }
        answer
    }
}

/// Both documents, each with a client that may call its operations.
async fn doors(app: &TestApp) -> [(Document, Client); 2] {
    let documents = routes::documents(&app.app.surface);
    let read = |text: &str| Document(serde_json::from_str(text).expect("a document"));
    // What is refused, or asks for what is so already, changes nothing.
    let staff = app.staff().await.changing_nothing();
    [(read(&documents.app), app.user("alice").await.client), (read(&documents.admin), staff)]
}

#[tokio::test]
async fn a_bad_limit_or_cursor_of_any_list_is_refused_by_its_name() {
    let app = TestApp::new().await;
    let mut lists = 0;
    for (document, client) in doors(&app).await {
        for operation in document.operations() {
            let has = |name: &str| operation.parameters.iter().any(|parameter| parameter["name"] == name);
            if operation.method != Method::GET || !has("limit") {
                continue;
            }
            lists += 1;
            assert!(has("cursor"), "{}", operation.path);
            for limit in ["0", "101", "-1", "1.5", "x", "99999999999999999999", "%00"] {
                let url = operation.url(None, &format!("{}limit={limit}", operation.needed()));
                let answer = operation.ask(&client, &url, None).await;
                assert_eq!(answer.refused(400, "invalid_request")["field"], "limit", "{url}");
            }
            for cursor in ["~", "%00", "a", "AAAA", &"a".repeat(2_000)] {
                let url = operation.url(None, &format!("{}cursor={cursor}", operation.needed()));
                let answer = operation.ask(&client, &url, None).await;
                assert_eq!(answer.refused(400, "invalid_request")["field"], "cursor", "{url}");
            }
            // It looks like a cursor, and never was one.
            for cursor in ["Zm9v", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"] {
                let url = operation.url(None, &format!("{}cursor={cursor}", operation.needed()));
                operation.ask(&client, &url, None).await;
            }
        }
    }
    assert!(lists >= 8, "{lists}");
    app.finish().await;
}

#[tokio::test]
async fn no_parameter_of_a_read_brings_a_5xx() {
    let app = TestApp::new().await;
    let long = "9".repeat(2_000);
    let hostile =
        ["", "%00", "a%00b", "%FF%FE", "-1", "1e999", "NaN", "%27%20OR%201=1--", "%25", "..%2F..", &long];
    for (document, client) in doors(&app).await {
        for operation in document.operations().iter().filter(|operation| operation.method == Method::GET) {
            for parameter in &operation.parameters {
                let name = parameter["name"].as_str().expect("a name");
                for value in hostile {
                    let url = match parameter["in"].as_str() {
                        Some("path") => operation.url(Some((name, value)), ""),
                        Some("query") => {
                            operation.url(None, &format!("{name}={value}&{}", operation.needed()))
                        }
                        _ => continue,
                    };
                    operation.ask(&client, &url, None).await;
                }
            }
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn every_body_names_the_field_that_is_missing_or_of_the_wrong_type() {
    let app = TestApp::new().await;
    let mut bodies = 0;
    for (document, client) in doors(&app).await {
        for operation in document.operations() {
            let Some(schema) = &operation.body else { continue };
            let example = &schema["example"];
            assert!(example.is_object(), "{} {} has no example", operation.method, operation.path);
            bodies += 1;
            let url = operation.url(None, "");
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut body = example.clone();
                body.as_object_mut().expect("an object").remove(name);
                let answer = operation.ask(&client, &url, Some(&body)).await;
                let problem = answer.refused(400, "invalid_request");
                assert_eq!(problem["field"], format!("/{name}"), "{} {url}", operation.method);
            }
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let other = match document.resolved(property)["type"].as_str() {
                    Some("object" | "array") => json!("text"),
                    Some(_) => json!({ "a": 1 }),
                    None => continue,
                };
                // What need not be sent is left out; null is no value of it.
                for wrong in [other, Value::Null] {
                    let mut body = example.clone();
                    body[name] = wrong;
                    let answer = operation.ask(&client, &url, Some(&body)).await;
                    let problem = answer.refused(400, "invalid_request");
                    assert_eq!(problem["field"], format!("/{name}"), "{} {url}", operation.method);
                }
            }
        }
    }
    assert!(bodies >= 15, "{bodies}");
    app.finish().await;
}

#[tokio::test]
async fn no_hostile_value_in_a_body_brings_a_5xx() {
    let app = TestApp::new().await;
    let deep: Value = serde_json::from_str(&("[".repeat(90) + &"]".repeat(90))).expect("JSON");
    let hostile = [
        json!(null),
        json!(""),
        json!("\u{0}"),
        json!("a\u{0}b"),
        json!("\u{202e}\u{200b}👩‍👩‍👧‍👦\r\n"),
        json!("x".repeat(50_000)),
        json!("' OR 1=1 --"),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!([]),
        json!([null]),
        json!({}),
        json!([{}]),
        deep,
    ];
    for (document, client) in doors(&app).await {
        for operation in document.operations() {
            let Some(schema) = &operation.body else { continue };
            // A password costs its hash, whatever it is: the tests of staff look after those.
            if operation.path.ends_with("/password") || operation.path == "/admin/v1/sessions" {
                continue;
            }
            let url = operation.url(None, "");
            for pointer in places(&schema["example"], "") {
                for value in &hostile {
                    let mut body = schema["example"].clone();
                    *body.pointer_mut(&pointer).expect("a place") = value.clone();
                    operation.ask(&client, &url, Some(&body)).await;
                }
            }
        }
    }
    app.finish_unquiet().await;
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, inner)| (n.to_string(), inner)).collect(),
        _ => Vec::new(),
    };
    let mut found = vec![at.to_owned()];
    for (name, value) in inner {
        found.extend(places(value, &format!("{at}/{name}")));
    }
    found
}
