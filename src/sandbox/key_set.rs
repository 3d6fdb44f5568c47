//! The demo identities as `/sandbox/keys` answers them.

use poem_openapi::Object;

use super::demo;
use super::keys::{Keys, Platform};

/// A template of subscribe messages.
#[derive(Object)]
pub struct Template {
    pub id: String,
    pub title: String,
    pub values: Vec<TemplateValue>,
}

#[derive(Object)]
pub struct TemplateValue {
    pub key: String,
    pub label: String,
}

/// The demo identities, with the merchant's private key. They exist only in the sandbox.
#[derive(Object)]
pub struct KeySet {
    pub appid: String,
    pub app_secret: String,
    pub mchid: String,
    pub merchant_serial: String,
    pub merchant_private_key_pem: String,
    pub merchant_certificate_pem: String,
    pub apiv3_key: String,
    pub public_key_id: String,
    pub public_key_pem: String,
    /// The older one first; the newer one signs once `rotate_certificate` is on.
    pub platform_certificates: Vec<PlatformCertificate>,
    pub push_token: String,
    pub push_encoding_aes_key: String,
    pub subscribe_templates: Vec<Template>,
}

#[derive(Object)]
pub struct PlatformCertificate {
    pub serial: String,
    pub pem: String,
}

impl KeySet {
    pub fn of(keys: &Keys) -> Self {
        let value = |(key, label): &(&str, &str)| TemplateValue {
            key: (*key).to_owned(),
            label: (*label).to_owned(),
        };
        let template = |template: &demo::SubscribeTemplate| Template {
            id: template.id.to_owned(),
            title: template.title.to_owned(),
            values: template.values.iter().map(value).collect(),
        };
        let platform = |platform: &Platform| PlatformCertificate {
            serial: platform.serial.clone(),
            pem: platform.pem.to_owned(),
        };
        Self {
            appid: demo::APPID.to_owned(),
            app_secret: demo::APP_SECRET.to_owned(),
            mchid: demo::MCHID.to_owned(),
            merchant_serial: demo::MERCHANT_SERIAL.to_owned(),
            merchant_private_key_pem: demo::MERCHANT_PRIVATE_KEY_PEM.to_owned(),
            merchant_certificate_pem: demo::MERCHANT_CERTIFICATE_PEM.to_owned(),
            apiv3_key: demo::APIV3_KEY.to_owned(),
            public_key_id: demo::PUBLIC_KEY_ID.to_owned(),
            public_key_pem: demo::PUBLIC_KEY_PEM.to_owned(),
            platform_certificates: vec![platform(&keys.older), platform(&keys.newer)],
            push_token: demo::PUSH_TOKEN.to_owned(),
            push_encoding_aes_key: demo::PUSH_ENCODING_AES_KEY.to_owned(),
            subscribe_templates: demo::SUBSCRIBE_TEMPLATES.iter().map(template).collect(),
        }
    }
}
