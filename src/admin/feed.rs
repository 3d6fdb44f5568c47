//! The feed of what needs staff, as Server-Sent Events.

use futures_util::stream::BoxStream;
use poem::web::sse::Event;
use poem_openapi::OpenApi;
use poem_openapi::param::Header;
use poem_openapi::payload::{EventStream, Response};
use poem_openapi::types::ToJSON;

use crate::feed::{self, Feed, Message};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Reply, Tag};
use crate::staff::StaffAuth;

type Messages = EventStream<BoxStream<'static, Message>>;

pub struct AdminFeedApi {
    pub ctx: Ctx,
    pub feed: Feed,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Orders")]
impl AdminFeedApi {
    /// Listen to what happens
    ///
    /// Server-Sent Events: new paid orders and what else needs staff, of the member's stores, the moment it
    /// happens. The first event is `hello`; after 15 s of silence comes a `heartbeat`. Who comes back with the id
    /// of the last event as `Last-Event-ID` misses nothing; after more than a week the answer begins with `reset`.
    /// The stream ends with the session, and when the server stops: come back then. The token goes into the
    /// header, so read it with `fetch`, not with `EventSource`. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `feed_full`.
    #[oai(path = "/orders/feed", method = "get", operation_id = "listenToOrders")]
    async fn listen(
        &self,
        auth: StaffAuth,
        /// The id of the last event that was received.
        #[oai(name = "Last-Event-ID", validator(minimum(value = "0")))]
        last: Header<Option<i64>>,
    ) -> Reply<Response<Messages>> {
        let messages = feed::open(&self.ctx, &self.feed, &auth.0, last.0).await?;
        let events = EventStream::new(messages).to_event(|message| {
            let (seq, kind) = (message.seq.to_string(), message.kind.as_str());
            Event::message(message.to_json_string()).id(seq).event_type(kind)
        });
        // Proxies must not wait for more of it.
        Ok(Response::new(events).header("Cache-Control", "no-store").header("X-Accel-Buffering", "no"))
    }
}
