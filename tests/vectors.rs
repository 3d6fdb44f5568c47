//! Test vectors: every JSON file under `tests/vectors` goes, by its `kind`, through the code that production
//! uses. A new file of a known kind needs no change here. Each of its `negative` changes must be refused,
//! each of its `still_valid` changes must still pass.

use std::path::Path;

use minimall::platform::crypto::{self, Certificate, RsaSigner, RsaVerifier};
use minimall::wechat::pay::notice::{self, Resource};
use minimall::wechat::pay::sign::{self, PayClient};
use minimall::wechat::pay::{Keyring, NoticeHeaders, certificates};
use minimall::wechat::{mini, push};
use serde_json::{Value, json};

/// Kinds of channels that are not built yet. Any other unknown kind is an error.
const NOT_COVERED: &[&str] = &[
    "adyen-hmac-webhook",
    "adyen-hmac-raw",
    "paypal-webhook-crc",
    "oss-v4",
    "oss-v1",
    "oss-post-policy",
    "wxpay-trade-bill",
];

/// The number of comparisons that held, or why one did not.
type Checked = Result<usize, String>;

#[test]
fn vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "tests/vectors is empty");
    let (mut covered, mut not_covered, mut wrong) = (0, 0, Vec::new());
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let kind = vector["kind"].as_str().unwrap_or_default();
        if NOT_COVERED.contains(&kind) {
            println!("{name}: {kind} is not covered yet");
            not_covered += 1;
            continue;
        }
        match check_file(kind, &vector) {
            Ok(0) => wrong.push(format!("{name}: nothing in it was checked")),
            Ok(checks) => println!("{name}: {checks} checks"),
            Err(why) => wrong.push(format!("{name}: {why}")),
        }
        covered += 1;
    }
    println!("{covered} files checked, {not_covered} not covered yet");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(covered > 0, "no file of a covered kind");
}

fn check_file(kind: &str, vector: &Value) -> Checked {
    let whole = [vector.clone()];
    let cases = vector["cases"].as_array().map_or(&whole[..], |cases| cases);
    let mut checks = 0;
    for case in cases {
        let mut expected = case["expected"].clone();
        if let Some(prefix) = vector.get("expected_header_prefix") {
            expected["header_prefix"] = prefix.clone();
        }
        let base = &case["inputs"];
        let run = |inputs: &Value, expected: &Value| check(kind, &Case { base, inputs, expected });
        match run(base, &expected)? {
            0 => return Ok(0),
            some => checks += some,
        }
        // What a file expects to be refused as it stands is, in a negative, a refusal like any other.
        let mut accepting = expected.clone();
        for flag in ["valid", "signature_valid", "strict_32_byte_key_accepts", "key_is_32_bytes"] {
            if accepting.get(flag).is_some() {
                accepting[flag] = true.into();
            }
        }
        for change in changes(vector, case, "negative") {
            if run(&changed(base, change)?, &accepting).is_ok() {
                return Err(format!("accepted although {}", change["why"]));
            }
            checks += 1;
        }
        for change in changes(vector, case, "still_valid") {
            let why = |error| format!("refused although still valid ({}): {error}", change["why"]);
            checks += run(&changed(base, change)?, &expected).map_err(why)?;
        }
    }
    Ok(checks)
}

fn changes<'a>(vector: &'a Value, case: &'a Value, name: &str) -> Vec<&'a Value> {
    let own = case.get(name).filter(|_| vector.get("cases").is_some());
    [vector.get(name), own].into_iter().flatten().filter_map(Value::as_array).flatten().collect()
}

/// The inputs with every `path: value` of `set` applied; dots walk into objects.
fn changed(inputs: &Value, change: &Value) -> Result<Value, String> {
    let mut inputs = inputs.clone();
    let set = change["set"].as_object().ok_or("a change without `set`")?;
    for (path, value) in set {
        let mut place = &mut inputs;
        for step in path.split('.') {
            place = match place {
                Value::Array(items) => {
                    step.parse::<usize>().ok().and_then(|at| items.get_mut(at)).ok_or(path.as_str())?
                }
                Value::Object(members) => {
                    let known = members.keys().find(|name| name.eq_ignore_ascii_case(step)).cloned();
                    members.entry(known.unwrap_or_else(|| step.to_owned())).or_insert_with(|| json!({}))
                }
                _ => return Err(format!("{path} walks into something that is no object")),
            };
        }
        *place = value.clone();
    }
    Ok(inputs)
}

struct Case<'a> {
    /// The file's inputs without changes: what the receiver has been set up with.
    base: &'a Value,
    inputs: &'a Value,
    expected: &'a Value,
}

impl Case<'_> {
    fn input(&self, name: &str) -> Result<String, String> {
        self.optional(name).ok_or_else(|| format!("inputs.{name} is missing"))
    }

    fn optional(&self, name: &str) -> Option<String> {
        text(self.inputs.get(name)?)
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(self.inputs, name)
    }

    /// Compares with `expected.name`, if the file has it.
    fn compare(&self, name: &str, actual: &str) -> Checked {
        match self.expected.get(name) {
            None | Some(Value::Null) => Ok(0),
            Some(wanted) if text(wanted).as_deref() == Some(actual) => Ok(1),
            Some(wanted) if serde_json::from_str::<Value>(actual).is_ok_and(|value| value == *wanted) => {
                Ok(1)
            }
            Some(wanted) => Err(format!("{name} is {actual:?}, not {wanted}")),
        }
    }

    fn says_no(&self, flag: &str) -> bool {
        self.expected[flag] == false
    }

    /// An outcome that must be a refusal if the file says so by `flag`.
    fn outcome<T>(&self, flag: &str, outcome: Result<T, impl ToString>) -> Result<Option<T>, String> {
        match outcome {
            Ok(_) if self.says_no(flag) => Err(format!("accepted although {flag} is false")),
            Ok(value) => Ok(Some(value)),
            Err(_) if self.says_no(flag) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn header<'a>(inputs: &'a Value, name: &str) -> Option<&'a str> {
    inputs["headers"].as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()
}

fn check(kind: &str, case: &Case) -> Checked {
    match kind {
        "rsa-sha256" => rsa_sha256(case),
        "rsa-oaep-sha1-decrypt" => {
            let opened =
                RsaSigner::decrypt_oaep_sha1(&case.input("private_key_pem")?, &case.input("ciphertext")?);
            case.compare("plaintext", &utf8(opened.map_err(|error| error.to_string())?)?)
        }
        "x509-serial" => {
            let serial =
                crypto::certificate_serial(&case.input("certificate_pem")?).map_err(|e| e.to_string())?;
            Ok(case.compare("serial_hex_upper", &serial)? + case.compare("certificate_serial", &serial)?)
        }
        "file-hash" => {
            let text = case.input("text")?;
            let hash = |digest: fn(&[u8]) -> Vec<u8>| crypto::hex(&digest(text.as_bytes()));
            Ok(case.compare("sha1", &hash(crypto::sha1))? + case.compare("sha256", &hash(crypto::sha256))?)
        }
        "wxpay-request-sign" => request_sign(case),
        "wxpay-authorization-format" => authorization_format(case),
        "wxpay-pay-sign" => pay_sign(case),
        "wxpay-response-verify" => response_verify(case),
        "wxpay-aes-gcm" => aes_gcm(case),
        "wxpay-certificates" => certificate_list(case),
        "wxpay-notification" => notification(case),
        "mp-encrypted-data" => {
            let [appid, key, iv, data] =
                ["appid", "session_key", "iv", "encrypted_data"].map(|name| case.input(name));
            let plain = mini::decrypt_user_data(&appid?, &key?, &iv?, &data?).map_err(|e| e.to_string())?;
            case.compare("plaintext", &plain)
        }
        "mp-rawdata-signature" => {
            let signature = mini::raw_data_signature(&case.input("raw_data")?, &case.input("session_key")?);
            case.compare("signature", &signature)
        }
        "mp-session-signature" => {
            let data = case.optional("data").unwrap_or_default();
            case.compare("signature", &mini::session_signature(&case.input("session_key")?, &data))
        }
        "mp-push-signature" => push_signature(case),
        "mp-push-secure-decrypt" => push_decrypt(case),
        "mp-push-secure-encrypt" => push_encrypt(case),
        other => Err(format!("no check for the kind {other:?}")),
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn rsa_sha256(case: &Case) -> Checked {
    let message = case.input("message")?;
    let mut checks = 0;
    if let Some(pem) = case.optional("private_key_pem") {
        let signer = RsaSigner::from_pem(&pem).map_err(|error| error.to_string())?;
        checks += case.compare("signature", &signer.sign(message.as_bytes()))?;
    }
    let mut verifiers = Vec::new();
    if let Some(pem) = case.optional("public_key_pem") {
        verifiers.push(RsaVerifier::from_pem(&pem).map_err(|error| error.to_string())?);
    }
    if let Some(pem) = case.optional("certificate_pem") {
        let certificate = Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
        checks += case.compare("certificate_serial", &certificate.serial)?;
        verifiers.push(certificate.key);
    }
    if let Some(signature) = case.optional("signature").or_else(|| text(&case.expected["signature"])) {
        for verifier in verifiers {
            case.outcome("valid", verifier.verify(message.as_bytes(), &signature))?;
            checks += 1;
        }
    }
    Ok(checks)
}

fn request_sign(case: &Case) -> Checked {
    let [method, url, timestamp, nonce, pem] =
        ["method", "url", "timestamp", "nonce", "private_key_pem"].map(|name| case.input(name));
    let (timestamp, nonce) = (timestamp?, nonce?);
    let body = case.optional("body").unwrap_or_default();
    let message = sign::request_message(&method?, &url?, &timestamp, &nonce, &body);
    let signature = RsaSigner::from_pem(&pem?).map_err(|error| error.to_string())?.sign(message.as_bytes());
    let mut checks = case.compare("message", &message)? + case.compare("signature", &signature)?;
    let wanted = &case.expected["authorization"];
    if !wanted.is_null() {
        let [mchid, serial] = ["mchid", "serial_no"].map(|name| case.input(name));
        let value = sign::authorization(sign::ALGORITHM, &mchid?, &serial?, &timestamp, &nonce, &signature);
        let (scheme, params) = value.split_once(' ').ok_or("no scheme")?;
        let params: Value = params
            .split(',')
            .filter_map(|param| param.split_once('='))
            .map(|(name, quoted)| (name.to_owned(), Value::from(quoted.trim_matches('"'))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let ours = json!({ "scheme": scheme, "params": params });
        if *wanted != ours && wanted.as_str() != Some(&value) {
            return Err(format!("authorization is {ours}, not {wanted}"));
        }
        checks += 1;
    }
    Ok(checks)
}

fn authorization_format(case: &Case) -> Checked {
    let [algorithm, mchid, serial, nonce, timestamp, method, url] =
        ["algorithm", "mchid", "serial_no", "nonce", "timestamp", "method", "url"]
            .map(|name| case.input(name));
    let (timestamp, nonce) = (timestamp?, nonce?);
    let body = case.optional("body").unwrap_or_default();
    let message = sign::request_message(&method?, &url?, &timestamp, &nonce, &body);
    let header = sign::authorization(&algorithm?, &mchid?, &serial?, &timestamp, &nonce, "c2lnbmF0dXJl");
    let mut checks = case.compare("message", &message)?;
    if let Some(prefix) = case.expected["header_prefix"].as_str() {
        if header.strip_prefix(prefix) != Some("c2lnbmF0dXJl\"") {
            return Err(format!("{header} does not begin with {prefix}"));
        }
        checks += 1;
    }
    Ok(checks)
}

fn pay_sign(case: &Case) -> Checked {
    let [appid, timestamp, nonce, prepay_id, pem] =
        ["appid", "timestamp", "nonce", "prepay_id", "private_key_pem"].map(|name| case.input(name));
    let prepay_id = prepay_id?;
    let client = match case.optional("client").as_deref() {
        None | Some("jsapi" | "mini-program" | "miniprogram" | "mp") => PayClient::Mini,
        Some(_) => PayClient::App,
    };
    let message = client.message(&appid?, &timestamp?, &nonce?, &prepay_id);
    let signature = RsaSigner::from_pem(&pem?).map_err(|error| error.to_string())?.sign(message.as_bytes());
    Ok(case.compare("message", &message)?
        + case.compare("package", &client.package(&prepay_id))?
        + case.compare("signature", &signature)?)
}

/// The receiver's keys: a public key under the id that the unchanged message names, or a certificate.
fn keyring(case: &Case) -> Result<(Keyring, Option<String>), String> {
    let mut keys = Keyring::default();
    if let Some(pem) = case.optional("public_key_pem") {
        let id = case.optional("public_key_id");
        let id =
            id.or_else(|| header(case.base, "Wechatpay-Serial").map(str::to_owned)).ok_or("no key id")?;
        keys.insert(&id, RsaVerifier::from_pem(&pem).map_err(|error| error.to_string())?, None);
    }
    let Some(pem) = case.optional("certificate_pem") else { return Ok((keys, None)) };
    let certificate = Certificate::from_pem(&pem).map_err(|error| error.to_string())?;
    keys.insert(&certificate.serial, certificate.key, None);
    Ok((keys, Some(certificate.serial)))
}

fn response_verify(case: &Case) -> Checked {
    let (keys, serial) = keyring(case)?;
    let headers = NoticeHeaders::read(|name| case.header(name));
    let body = case.optional("body").unwrap_or_default();
    case.outcome("valid", keys.verify_signature(&headers, body.as_bytes()))?;
    let message = utf8(headers.message(body.as_bytes()))?;
    Ok(1 + case.compare("message", &message)?
        + case.compare("certificate_serial", &serial.unwrap_or_default())?)
}

fn aes_gcm(case: &Case) -> Checked {
    let resource = Resource {
        algorithm: case.optional("algorithm").unwrap_or_else(|| "AEAD_AES_256_GCM".to_owned()),
        nonce: case.input("nonce")?,
        associated_data: case.optional("associated_data"),
        ciphertext: case.input("ciphertext")?,
    };
    let opened = notice::open_resource(case.input("key")?.as_bytes(), &resource);
    match case.outcome("strict_32_byte_key_accepts", opened)? {
        None => Ok(1),
        Some(plain) => case.compare("plaintext", &utf8(plain)?),
    }
}

fn certificate_list(case: &Case) -> Checked {
    let parsed = certificates::parse(case.input("apiv3_key")?.as_bytes(), case.input("body")?.as_bytes());
    let Some(list) = case.outcome("key_is_32_bytes", parsed)? else { return Ok(1) };
    let wanted = case.expected["certificates"].as_array().ok_or("expected.certificates is missing")?;
    if list.len() != wanted.len() {
        return Err(format!("{} certificates, not {}", list.len(), wanted.len()));
    }
    for wanted in wanted {
        let serial = wanted["serial_no"].as_str().or_else(|| wanted.as_str()).ok_or("no serial_no")?;
        let found = list.iter().find(|entry| entry.serial == serial).ok_or(format!("{serial} is missing"))?;
        let pem = ["certificate", "certificate_pem", "pem"].iter().find_map(|name| wanted[*name].as_str());
        if pem.is_some_and(|pem| pem.trim() != found.pem.trim()) {
            return Err(format!("{serial} is another certificate"));
        }
    }
    Ok(1 + wanted.len())
}

fn notification(case: &Case) -> Checked {
    let (keys, serial) = keyring(case)?;
    let headers = NoticeHeaders::read(|name| case.header(name));
    let (body, key) = (case.input("body")?, case.input("apiv3_key")?);
    let now_s: i64 = case.input("now")?.parse().map_err(|_| "now is not a number")?;
    let (body, key, now_ms) = (body.as_bytes(), key.as_bytes(), now_s * 1_000);
    let mut checks = 1 + case.compare("certificate_serial", &serial.unwrap_or_default())?;
    if case.outcome("signature_valid", keys.verify(&headers, body, now_ms))?.is_none() {
        return notice::parse(&keys, key, &headers, body, now_ms)
            .map_or(Ok(checks), |_| Err("read".to_owned()));
    }
    let Some(opened) = case.outcome("key_is_32_bytes", notice::open(key, body))? else {
        return Ok(checks + 1);
    };
    checks += case.compare("plaintext", &opened.plaintext)?;
    let parsed = notice::parse(&keys, key, &headers, body, now_ms).map_err(|error| error.to_string())?;
    Ok(checks + case.compare("id", &parsed.id)? + case.compare("event_type", &parsed.event_type)?)
}

fn push_of(case: &Case) -> Result<push::Push, String> {
    push::Push::new(push::PushOptions {
        appid: case.optional("appid").unwrap_or_default(),
        token: case.input("token")?,
        encoding_aes_key: case.optional("encoding_aes_key"),
    })
    .map_err(|error| error.to_string())
}

/// The query of a push; a signature that the inputs don't carry is the one that is expected.
fn push_query(case: &Case) -> Result<push::PushQuery, String> {
    let given = |name| case.optional(name).or_else(|| text(&case.expected[name])).unwrap_or_default();
    Ok(push::PushQuery {
        signature: given("signature"),
        msg_signature: given("msg_signature"),
        timestamp: case.input("timestamp")?,
        nonce: case.input("nonce")?,
    })
}

fn push_signature(case: &Case) -> Checked {
    let query = push_query(case)?;
    case.outcome("valid", push_of(case)?.verify_url(&query))?;
    let ours = push::push_signature(&[&case.input("token")?, &query.timestamp, &query.nonce]);
    Ok(1 + case.compare("signature", &ours)?)
}

fn push_decrypt(case: &Case) -> Checked {
    let query = push_query(case)?;
    let encrypt = case.input("encrypt")?;
    let push = push_of(case)?;
    let frame = push.open(&query, &encrypt).map_err(|error| error.to_string())?;
    let body = json!({ "ToUserName": "gh", "Encrypt": encrypt }).to_string();
    if push.receive(&query, body.as_bytes()).as_ref() != Ok(&frame.message) {
        return Err("the envelope opens to something else".to_owned());
    }
    let plain = push::push_signature(&[&case.input("token")?, &query.timestamp, &query.nonce]);
    Ok(1 + case.compare("plain_signature", &plain)?
        + case.compare("random", &utf8(frame.random)?)?
        + case.compare("message", &utf8(frame.message)?)?
        + case.compare("appid", &utf8(frame.appid)?)?)
}

fn push_encrypt(case: &Case) -> Checked {
    let [timestamp, nonce, random, message] =
        ["timestamp", "nonce", "random", "message"].map(|name| case.input(name));
    let random = random?.into_bytes().try_into().map_err(|_| "random must be 16 bytes")?;
    let reply = push_of(case)?
        .seal(message?.as_bytes(), &timestamp?, &nonce?, random)
        .map_err(|error| error.to_string())?;
    Ok(case.compare("encrypt", &reply.encrypt)? + case.compare("msg_signature", &reply.msg_signature)?)
}
