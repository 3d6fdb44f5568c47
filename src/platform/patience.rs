//! How long is waited for what may never come: a database whose host went silent says nothing, not even no.

use std::time::Duration;

use tokio::time::timeout;

use crate::kernel::{Failure, Result, common};

/// A piece of background work that takes longer is given up, and taken up anew. Far above what any takes that gets
/// answers: calls and writes inside it have limits of their own.
pub const WORK_LIMIT: Duration = Duration::from_secs(120);

/// The same for the delivery of one event, which is to be given up by itself, and not with all beside it; and before
/// another node may take it.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(25);

/// Waits for `work`, at most for `limit`.
///
/// # Errors
/// What `work` answers; `unavailable` when it is given up, and may have happened.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let cause = format!("{what} took longer than {} s", limit.as_secs_f64());
        Err(Failure::new(&common::UNAVAILABLE).retry_after_s(1).cause(cause))
    })
}
