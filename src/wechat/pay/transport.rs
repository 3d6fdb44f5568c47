//! One signed request and its verified answer, and the download of platform certificates.

use std::sync::PoisonError;

use reqwest::{Method, Request, Url, header};

use super::sign::{ALGORITHM, authorization, request_message};
use super::{Keyring, Keys, NoticeHeaders, Pay, PayError, VerifyError, certificates};
use crate::platform::crypto;
use crate::wechat::Cause;
use crate::wechat::http::{self, Answer};

/// A request, apart from the host that it goes to.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub path: &'a [&'a str],
    pub query: Option<(&'a str, &'a str)>,
    /// Empty for none.
    pub body: &'a str,
}

impl Pay {
    /// Sends and verifies within the time of a call: the answer is a 2xx that WeChat Pay signed.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, PayError> {
        self.bounded(async {
            let answer = self.exchange(&ask).await?;
            match self.verify(&answer, &self.ring()) {
                Err(VerifyError::UnknownSerial) if self.download_for(&answer).await => {
                    self.verify(&answer, &self.ring())?;
                }
                verified => verified?,
            }
            Ok(answer)
        })
        .await
    }

    /// Downloads the platform certificates and keeps those that have not ended. A merchant with public keys
    /// only is told 404 by WeChat, which is fine if a public key is configured.
    pub async fn refresh_certificates(&self) -> Result<(), PayError> {
        self.bounded(async {
            let _one = self.0.downloading.lock().await;
            self.download().await
        })
        .await
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, PayError>>) -> Result<T, PayError> {
        tokio::time::timeout(self.0.timeout, work).await.unwrap_or(Err(Cause::Timeout.into()))
    }

    /// Sends to the first address that takes the connection; only there something was sent.
    async fn exchange(&self, ask: &Ask<'_>) -> Result<Answer, PayError> {
        let mut last = None;
        for base in &self.0.bases {
            match self.0.http.send(self.signed(base, ask)?).await {
                Ok(answer) if answer.is_success() => return Ok(answer),
                Ok(answer) => return Err(PayError::of(&answer)),
                Err(Cause::Connect(text)) => last = Some(Cause::Connect(text)),
                Err(cause) => return Err(cause.into()),
            }
        }
        Err(last.unwrap_or(Cause::Connect("no address".to_owned())).into())
    }

    fn signed(&self, base: &Url, ask: &Ask<'_>) -> Result<Request, PayError> {
        let mut url = http::join(base, ask.path.iter().copied());
        if let Some((name, value)) = ask.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        // Signed is what is sent: the URL after its encoding.
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let timestamp = self.0.clock.now_s().to_string();
        let nonce = nonce();
        let message = request_message(ask.method.as_str(), &target, &timestamp, &nonce, ask.body);
        let signature = self.0.signer.sign(message.as_bytes());
        let serial = &self.0.merchant_serial;
        let value = authorization(ALGORITHM, &self.0.mchid, serial, &timestamp, &nonce, &signature);

        let mut request = Request::new(ask.method.clone(), url);
        let headers = request.headers_mut();
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json.clone());
        let text = |text: &str| {
            header::HeaderValue::from_str(text).map_err(|_| Cause::Unreadable("a header is not text"))
        };
        let mut authorization = text(&value)?;
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
        if let Some(id) = self.asked_key() {
            headers.insert("wechatpay-serial", text(&id)?);
        }
        if !ask.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, json);
            *request.body_mut() = Some(ask.body.to_owned().into());
        }
        Ok(request)
    }

    /// The serial that WeChat is asked to sign with: the public key's, otherwise the newest certificate's.
    pub(super) fn asked_key(&self) -> Option<String> {
        self.0.preferred_key.clone().or_else(|| {
            let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
            keys.newest_certificate.clone()
        })
    }

    fn verify(&self, answer: &Answer, ring: &Keyring) -> Result<(), VerifyError> {
        ring.verify(&headers_of(answer), &answer.body, self.0.clock.now_ms())
    }

    /// Downloads certificates because an answer names one that is not held. True: look again.
    async fn download_for(&self, answer: &Answer) -> bool {
        if !self.0.platform_certificates {
            return false;
        }
        let _one = self.0.downloading.lock().await;
        if self.ring().holds(&headers_of(answer).serial) {
            return true; // somebody else downloaded it while we waited
        }
        let may_try = self.with_keys(|keys| keys.may_try(self.0.clock.now_ms()));
        may_try && self.download().await.is_ok()
    }

    async fn download(&self) -> Result<(), PayError> {
        let now_ms = self.0.clock.now_ms();
        self.with_keys(|keys| (keys.tried_ms, keys.wanted) = (Some(now_ms), false));
        let ask = Ask { method: Method::GET, path: &["v3", "certificates"], query: None, body: "" };
        let answer = match self.exchange(&ask).await {
            Err(error) if error.is_not_found() && self.0.preferred_key.is_some() => {
                self.with_keys(|keys| keys.refreshed_ms = Some(now_ms));
                return Ok(());
            }
            other => other?,
        };
        let list = certificates::parse(self.0.apiv3_key.as_bytes(), &answer.body)
            .map_err(|_| Cause::Unreadable("not a certificate list for this APIv3 key"))?;
        if list.is_empty() {
            return Err(Cause::Unreadable("the certificate list is empty").into());
        }
        // The APIv3 key vouches for the list, so the first answer may be signed by a certificate within it.
        let fresh = certificates::keyring(&list);
        let mut both = self.ring();
        both.merge(fresh.clone());
        self.verify(&answer, &both)?;
        self.with_keys(|keys| {
            keys.ring.merge(fresh);
            keys.ring.prune(now_ms);
            let newest = list.iter().max_by_key(|entry| entry.end_ms);
            keys.newest_certificate = newest.map(|entry| entry.serial.clone());
            keys.refreshed_ms = Some(now_ms);
        });
        Ok(())
    }

    fn with_keys<T>(&self, work: impl FnOnce(&mut Keys) -> T) -> T {
        work(&mut self.0.keys.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn headers_of(answer: &Answer) -> NoticeHeaders {
    NoticeHeaders::read(|name| answer.headers.get(name).and_then(|value| value.to_str().ok()))
}

/// 32 characters that nobody can guess.
pub(super) fn nonce() -> String {
    crypto::hex(&crypto::random::<16>())
}
