//! The gate of store management: which operation a request is for, whether the member's role may call it, and
//! whether what it names is of the member's stores. What the gate does not know does not pass.

use std::collections::HashMap;
use std::sync::Arc;

use poem::http::Method;
use poem::{PathPattern, Request};

use super::roles::{self, Permission};
use super::{ROLE_NOT_ALLOWED, STORES_LIMITED, StaffMember, StoreScope};
use crate::kernel::{Failure, Result};
use crate::platform::ctx::Ctx;
use crate::platform::db::{BoxFuture, Conn};

/// Is what a parameter (its name and its value) names inside of these stores? A refusal is the 404 of what
/// does not exist. Staff knows no orders, so this comes from whoever knows them all.
pub type InScope =
    for<'x> fn(&'x mut Conn, &'x StoreScope, name: &'x str, value: &'x str) -> BoxFuture<'x, Result<()>>;

/// The query parameter that lists are narrowed to a store by: it is held like one of the path.
const NARROWED_BY: &str = "store_id";

/// An operation of the OpenAPI document.
pub struct Operation {
    pub method: Method,
    /// With parameters as `{name}`.
    pub path: String,
    pub id: &'static str,
}

struct Route {
    permission: Permission,
    parameters: Vec<String>,
}

/// Clones share the table.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    routes: HashMap<(Method, String), Route>,
    in_scope: InScope,
}

impl Gate {
    /// A gate for these operations.
    pub fn new(operations: impl Iterator<Item = Operation>, in_scope: InScope) -> Self {
        let route = |operation: Operation| {
            let permission = roles::permission_of(operation.id)?;
            let (path, parameters) = as_routed(&operation.path);
            Some(((operation.method, path), Route { permission, parameters }))
        };
        Self(Arc::new(Inner { routes: operations.filter_map(route).collect(), in_scope }))
    }

    /// # Errors
    /// `role_not_allowed`, `stores_limited`, or the 404 of what is outside of the member's stores.
    pub(super) async fn check(&self, ctx: &Ctx, request: &Request, member: &StaffMember) -> Result<()> {
        let pattern = request.data::<PathPattern>().map(|pattern| pattern.0.to_string());
        let route = pattern.and_then(|path| self.0.routes.get(&(request.method().clone(), path)));
        let Some(route) = route else {
            tracing::error!("{} {} has no row in the table of roles", request.method(), request.uri().path());
            return Err(Failure::new(&ROLE_NOT_ALLOWED));
        };
        if !route.permission.roles().contains(&member.role) {
            return Err(Failure::new(&ROLE_NOT_ALLOWED).detail(roles::in_words(route.permission)));
        }
        if member.scope.is_all() {
            return Ok(());
        }
        if route.permission.is_of_whole_shop() {
            return Err(Failure::new(&STORES_LIMITED));
        }
        let mut named: Vec<(&str, &str)> = Vec::new();
        for (place, name) in route.parameters.iter().enumerate() {
            named.extend(request.raw_path_param(&routed_name(place)).map(|value| (name.as_str(), value)));
        }
        // What can't be read is refused by the operation itself.
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let narrowed = query.iter().filter(|(name, _)| name == NARROWED_BY);
        named.extend(narrowed.map(|(name, value)| (name.as_str(), value.as_str())));
        if named.is_empty() {
            return Ok(());
        }
        let conn = &mut *ctx.db.reader().await?;
        for (name, value) in named {
            (self.0.in_scope)(conn, &member.scope, name, value).await?;
        }
        Ok(())
    }
}

/// A path of the document as poem-openapi routes it, where parameters are counted, and their names.
fn as_routed(path: &str) -> (String, Vec<String>) {
    let mut names = Vec::new();
    let part = |part: &str| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => {
            names.push(name.to_owned());
            format!(":{}", routed_name(names.len() - 1))
        }
        None => part.to_owned(),
    };
    let parts: Vec<String> = path.split('/').map(part).collect();
    (parts.join("/"), names)
}

fn routed_name(place: usize) -> String {
    format!("param{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted_and_keep_their_names() {
        let (path, names) = as_routed("/admin/v1/stores/{store_id}/offers/{sku_id}");
        assert_eq!(path, "/admin/v1/stores/:param0/offers/:param1");
        assert_eq!(names, ["store_id", "sku_id"]);
        assert_eq!(as_routed("/admin/v1/me").0, "/admin/v1/me");
    }
}
