//! The two OpenAPI documents, from the code. What Swagger UI needs to walk through the story is added here:
//! an id of zeros and an Idempotency-Key of `auto` are filled in by the docs page.

use poem_openapi::{LicenseObject, OpenApiService};
use serde_json::{Value, json};

use super::Surface;
use crate::addresses::AddressesApi;
use crate::admin;
use crate::cart::CartApi;
use crate::catalog::CatalogApi;
use crate::coupons::CouponsApi;
use crate::identity::IdentityApi;
use crate::notifications::NotificationsApi;
use crate::order_views::OrderViewsApi;
use crate::orders::OrdersApi;
use crate::payments::PaymentsApi;
use crate::refunds::RefundsApi;
use crate::staff::Attempts;
use crate::stores::StoresApi;

const VERSION: &str = env!("CARGO_PKG_VERSION");

const APP_TEXT: &str = "What the mini-program calls. Sign in with `POST /sessions` (in the sandbox the code \
`demo:alice` always works), then everything takes the token as `Authorization: Bearer …`. Money is integer \
minor units with a currency; times are RFC 3339; errors are `application/problem+json` with a stable `code`, \
explained at [/docs/errors](/docs/errors). Writes that move money, stock or coupons take an `Idempotency-Key`.\n\n\
On this page the token, a fresh Idempotency-Key (`auto`), the last quote token, and the last id in place of an \
id of zeros are filled in for you: sign in, add an address, quote, order, pay on the sandbox's page.";

const ADMIN_TEXT: &str = "What the people who manage the stores call. Sign in with `POST /sessions`; the first \
start of the server made the account and told its password. Every write leaves an audit row. Errors are \
explained at [/docs/errors](/docs/errors).\n\nOn this page the token, a fresh Idempotency-Key (`auto`), and the \
last id in place of an id of zeros are filled in for you.";

type AppApis = (
    IdentityApi,
    StoresApi,
    CatalogApi,
    CartApi,
    AddressesApi,
    OrdersApi,
    OrderViewsApi,
    PaymentsApi,
    RefundsApi,
    CouponsApi,
    NotificationsApi,
);

type AdminApis = (
    admin::sessions::StaffSessionsApi,
    admin::stores::StoresAdminApi,
    admin::catalog::CatalogAdminApi,
    admin::coupons::AdminCouponsApi,
    admin::orders::AdminOrdersApi,
    admin::refunds::AdminRefundsApi,
    admin::operations::OperationsApi,
);

/// The mini-program's service.
pub fn app_service(app: &Surface) -> OpenApiService<AppApis, ()> {
    let ctx = || app.ctx.clone();
    let apis = (
        IdentityApi { ctx: ctx(), mini: app.mini.clone(), sessions: app.sessions.clone() },
        StoresApi { ctx: ctx(), stores: app.stores.clone() },
        CatalogApi { ctx: ctx() },
        CartApi { ctx: ctx() },
        AddressesApi { ctx: ctx() },
        OrdersApi { ctx: ctx() },
        OrderViewsApi { ctx: ctx() },
        PaymentsApi { ctx: ctx(), channel: app.channel.clone() },
        RefundsApi { ctx: ctx() },
        CouponsApi { ctx: ctx() },
        NotificationsApi { ctx: ctx() },
    );
    OpenApiService::new(apis, "minimall: mini-program", VERSION).description(APP_TEXT).license(license())
}

/// The admin's service.
pub fn admin_service(app: &Surface) -> OpenApiService<AdminApis, ()> {
    let ctx = || app.ctx.clone();
    let apis = (
        admin::sessions::StaffSessionsApi { ctx: ctx(), attempts: Attempts::default() },
        admin::stores::StoresAdminApi { ctx: ctx(), stores: app.stores.clone(), mini: app.mini.clone() },
        admin::catalog::CatalogAdminApi { ctx: ctx() },
        admin::coupons::AdminCouponsApi { ctx: ctx() },
        admin::orders::AdminOrdersApi { ctx: ctx(), mini: app.mini.clone() },
        admin::refunds::AdminRefundsApi { ctx: ctx() },
        admin::operations::OperationsApi { ctx: ctx() },
    );
    OpenApiService::new(apis, "minimall: store management", VERSION)
        .description(ADMIN_TEXT)
        .license(license())
}

fn license() -> LicenseObject {
    LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0")
}

/// Both documents as pretty JSON.
pub struct Documents {
    pub app: String,
    pub admin: String,
}

/// Writes the documents.
pub fn documents(app: &Surface) -> Documents {
    Documents { app: finished(&app_service(app).spec()), admin: finished(&admin_service(app).spec()) }
}

fn finished(spec: &str) -> String {
    let mut document: Value = serde_json::from_str(spec).unwrap_or_default();
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        for operation in
            paths.values_mut().filter_map(Value::as_object_mut).flat_map(|path| path.values_mut())
        {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            parameters.into_iter().flatten().for_each(add_example);
        }
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// Gives a parameter the example that the docs page replaces.
fn add_example(parameter: &mut Value) {
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
    let pattern = parameter.pointer("/schema/pattern").and_then(Value::as_str).unwrap_or_default();
    let example = if name == "Idempotency-Key" {
        Some("auto".to_owned())
    } else if parameter.get("in").is_some_and(|place| place == "path") && parameter.get("example").is_none() {
        let prefix =
            pattern.strip_prefix('^').and_then(|rest| rest.split_once('_')).map(|(prefix, _)| prefix);
        prefix.map(example_id)
    } else {
        None
    };
    if let Some(example) = example {
        parameter["example"] = json!(example);
    }
}

/// Demo data has fixed ids; of everything else the docs page knows the last one.
fn example_id(prefix: &str) -> String {
    let demo = ["sto", "prd", "sku", "tpl"].contains(&prefix);
    format!("{prefix}_{}{}", "0".repeat(25), u8::from(demo))
}
