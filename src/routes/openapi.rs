//! The two OpenAPI documents, from the code. What Swagger UI needs to walk through the story is added here:
//! an id of zeros and an Idempotency-Key of `auto` are filled in by the docs page.

use std::collections::BTreeSet;

use poem::http::Method;
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};
use serde_json::{Value, json};

use super::Surface;
use crate::accounts::AccountsApi;
use crate::addresses::AddressesApi;
use crate::admin;
use crate::cart::CartApi;
use crate::catalog::CatalogApi;
use crate::coupons::CouponsApi;
use crate::identity::IdentityApi;
use crate::kernel::{Code, common};
use crate::notifications::NotificationsApi;
use crate::order_views::OrderViewsApi;
use crate::orders::OrdersApi;
use crate::payments::PaymentsApi;
use crate::platform::idempotency::KEY_PATTERN;
use crate::refunds::RefundsApi;
use crate::staff::roles::{self, Permission};
use crate::staff::{Gate, Operation, ROLE_NOT_ALLOWED, STORES_LIMITED};
use crate::stores::StoresApi;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The groups in the order of the story.
const STORY: [&str; 16] = [
    "Sessions",
    "Me",
    "Stores",
    "Products",
    "Cart",
    "Addresses",
    "Orders",
    "Shipping",
    "Pickups",
    "Payments",
    "Refunds",
    "Coupons",
    "Users",
    "Messages",
    "Staff",
    "Operations",
];

const APP_TEXT: &str = "What the mini-program calls. Sign in with `POST /sessions` (in the sandbox the code \
`demo:alice` always works), then send the token as `Authorization: Bearer …`. Money is in integer minor units with \
a currency; times are RFC 3339; errors are `application/problem+json` with a stable `code`, each \
[explained here](/docs/errors). Writes that move money, stock or coupons take an `Idempotency-Key`.\n\n\
**Try it, with the examples as they stand:** login → createAddress → createQuote → placeOrder → startPayment → \
pay on the sandbox's page → getOrder → requestRefund. This page fills in the token, a fresh Idempotency-Key for \
`auto`, the last quote token, and for an id of zeros the last id of its kind.";

const ADMIN_TEXT: &str = "What the people who manage the stores call. Sign in with `POST /sessions` as `admin`: the \
first start of the server made that account and printed its password, or took it from \
`MINIMALL__ADMIN__INITIAL_PASSWORD`. The example has the password of the tour in the README, `west-lake-tour`; type \
yours. Every write leaves an audit row. Errors are [explained here](/docs/errors).\n\n\
This page fills in the token, a fresh Idempotency-Key for `auto`, and for an id of zeros the last id of its kind \
that it has seen: list first, then act.";

type AppApis = (
    (IdentityApi, AccountsApi),
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
    admin::staff::StaffAdminApi,
    admin::stores::StoresAdminApi,
    admin::catalog::CatalogAdminApi,
    admin::coupons::AdminCouponsApi,
    admin::orders::AdminOrdersApi,
    (admin::shipping::AdminShippingApi, admin::users::AdminUsersApi, admin::feed::AdminFeedApi),
    (admin::pricing::AdminPricingApi, admin::pickups::AdminPickupsApi),
    (admin::refunds::AdminRefundsApi, admin::refunds::StartedRefundsApi, admin::refunds::RefundsByPeopleApi),
    (admin::payments::AdminPaymentsApi, admin::proposals::ProposalsApi),
    admin::operations::OperationsApis,
);

/// The mini-program's service.
pub fn app_service(app: &Surface) -> OpenApiService<AppApis, ()> {
    let ctx = || app.ctx.clone();
    let apis = (
        (
            IdentityApi { ctx: ctx(), mini: app.mini.clone(), sessions: app.sessions.clone() },
            AccountsApi { ctx: ctx(), mini: app.mini.clone() },
        ),
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
        admin::sessions::StaffSessionsApi { ctx: ctx() },
        admin::staff::StaffAdminApi { ctx: ctx() },
        admin::stores::StoresAdminApi { ctx: ctx(), stores: app.stores.clone(), mini: app.mini.clone() },
        admin::catalog::CatalogAdminApi { ctx: ctx() },
        admin::coupons::AdminCouponsApi { ctx: ctx() },
        admin::orders::AdminOrdersApi { ctx: ctx(), mini: app.mini.clone() },
        (
            admin::shipping::AdminShippingApi { ctx: ctx(), mini: app.mini.clone() },
            admin::users::AdminUsersApi { ctx: ctx() },
            admin::feed::AdminFeedApi { ctx: ctx(), feed: app.feed.clone() },
        ),
        (admin::pricing::AdminPricingApi { ctx: ctx() }, admin::pickups::AdminPickupsApi { ctx: ctx() }),
        (
            admin::refunds::AdminRefundsApi { ctx: ctx() },
            admin::refunds::StartedRefundsApi { ctx: ctx() },
            admin::refunds::RefundsByPeopleApi { ctx: ctx(), channel: app.channel.clone() },
        ),
        (admin::payments::AdminPaymentsApi { ctx: ctx() }, admin::proposals::ProposalsApi { ctx: ctx() }),
        admin::operations::apis(&app.ctx, &app.caches),
    );
    OpenApiService::new(apis, "minimall: store management", VERSION)
        .description(ADMIN_TEXT)
        .license(license())
}

/// Who passes to which operation of the admin's service.
pub fn gate() -> Gate {
    let paths = AdminApis::meta().into_iter().flat_map(|api| api.paths);
    let operations = paths.flat_map(|path| {
        path.operations.into_iter().filter_map(move |operation| {
            Some(Operation { method: operation.method, path: path.path.clone(), id: operation.operation_id? })
        })
    });
    Gate::new(operations, admin::scope::in_scope)
}

/// The addresses of both services, with parameters as `{name}`, and the methods that they take.
pub fn addresses() -> impl Iterator<Item = (String, Method)> {
    let paths = AppApis::meta().into_iter().chain(AdminApis::meta()).flat_map(|api| api.paths);
    paths.flat_map(|path| {
        path.operations.into_iter().map(move |operation| (path.path.clone(), operation.method))
    })
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
    let mut used = BTreeSet::new();
    for operation in operations(&mut document) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            add_example(parameter);
            if parameter["name"] == "Idempotency-Key" {
                parameter["schema"]["pattern"] = json!(KEY_PATTERN);
            }
        }
        add_roles(operation);
        add_common_errors(operation);
        plain_names(operation);
        let tags = operation.get("tags").and_then(Value::as_array).into_iter().flatten();
        used.extend(tags.filter_map(Value::as_str).map(str::to_owned));
    }
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.retain(|tag| tag["name"].as_str().is_some_and(|name| used.contains(name)));
        tags.sort_by_key(|tag| STORY.iter().position(|name| tag["name"] == **name));
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for schema in schemas.values_mut() {
            if let Some(example) = schema.get_mut("example") {
                drop_nulls(example);
            }
            let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
            properties.into_iter().flatten().for_each(|(name, property)| add_time(name, property));
        }
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let paths = paths.into_iter().flat_map(|paths| paths.values_mut());
    paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut())
}

/// Gives a parameter the example that the docs page replaces, or its schema's own.
fn add_example(parameter: &mut Value) {
    let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
    let pattern = parameter.pointer("/schema/pattern").and_then(Value::as_str).unwrap_or_default();
    let own = parameter.pointer("/schema/example").cloned();
    let prefix = pattern.strip_prefix('^').and_then(|rest| rest.split_once('_')).map(|(prefix, _)| prefix);
    let example = if name == "Idempotency-Key" {
        let short = parameter.pointer("/schema/minLength").and_then(Value::as_u64) <= Some(4);
        Some(json!(if short { "auto" } else { "auto: filled in by this page" }))
    } else if parameter.get("in").is_some_and(|place| place == "path") {
        own.or(prefix.map(|prefix| json!(format!("{prefix}_{}", "0".repeat(26)))))
    } else {
        own
    };
    if let Some(example) = example {
        parameter["example"] = example;
    }
}

/// A text that is named like a point in time is one: RFC 3339.
fn add_time(name: &str, property: &mut Value) {
    let last = name.rsplit('_').next().unwrap_or(name);
    let is_named = matches!(last, "at" | "before" | "until") || name == "valid_from";
    if is_named && property["type"] == "string" && property.get("pattern").is_none() {
        property["format"] = json!("date-time");
    }
}

/// Who may call an operation of store management, from the table that decides it.
fn add_roles(operation: &mut Value) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let takes_staff = operation.pointer("/security/0/StaffToken").is_some();
    let Some(permission) = roles::permission_of(id).filter(|_| takes_staff) else { return };
    let said = operation.get("description").and_then(Value::as_str).unwrap_or_default();
    let who = roles::in_words(permission);
    operation["description"] = match said.split_once("\n\nErrors: ") {
        Some((says, errors)) => json!(format!("{says}\n\n{who}\n\nErrors: {errors}")),
        None => json!(format!("{said}\n\n{who}")),
    };
}

/// What any operation of this shape can answer, behind what it says itself.
fn add_common_errors(operation: &mut Value) {
    let parameters = operation.get("parameters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let has_key = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
    let has_body = operation.get("requestBody").is_some();
    let mut codes: Vec<&Code> = Vec::new();
    if operation.get("security").is_some() {
        codes.push(&common::UNAUTHENTICATED);
    }
    if operation.pointer("/security/0/StaffToken").is_some() {
        codes.push(&ROLE_NOT_ALLOWED);
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        if roles::permission_of(id).is_some_and(Permission::is_of_whole_shop) {
            codes.push(&STORES_LIMITED);
        }
    }
    if has_body || parameters.len() > usize::from(has_key) {
        codes.push(&common::INVALID);
    }
    if has_body {
        codes.extend([&common::MALFORMED, &common::TOO_LARGE, &common::MEDIA_TYPE]);
    }
    if has_key {
        codes.extend([
            &common::IDEMPOTENCY_KEY_REQUIRED,
            &common::IDEMPOTENCY_KEY_REUSED,
            &common::IDEMPOTENCY_IN_PROGRESS,
        ]);
    }
    codes.extend([&common::UNAVAILABLE, &common::INTERNAL]);
    let said = operation.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let fresh = codes.iter().map(|code| format!("`{}`", code.code)).filter(|code| !said.contains(code));
    let fresh: Vec<String> = fresh.collect();
    let list = fresh.join(", ");
    operation["description"] = if said.contains("Errors: ") {
        json!(format!("{said}\n\nAs everywhere: {list}."))
    } else {
        json!(format!("{said}\n\nErrors: {list}."))
    };
}

/// Media types without their charset and headers as we write them: clients are made from these names.
fn plain_names(operation: &mut Value) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for response in responses.values_mut() {
        rename(&mut response["content"], "application/json; charset=utf-8", "application/json");
        rename(&mut response["headers"], "IDEMPOTENT-REPLAYED", "Idempotent-Replayed");
        for part in ["content", "headers"] {
            if response[part].is_null()
                && let Some(response) = response.as_object_mut()
            {
                response.remove(part);
            }
        }
    }
}

fn rename(members: &mut Value, from: &str, to: &str) {
    if let Some(members) = members.as_object_mut()
        && let Some(value) = members.remove(from)
    {
        members.insert(to.to_owned(), value);
    }
}

/// A member that an example leaves out is not null in it.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
