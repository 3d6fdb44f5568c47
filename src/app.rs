//! The only place that wires things: ports, clients, the list of subscriptions, the list of workers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::Server;
use poem::listener::{Acceptor, Listener, TcpAcceptor, TcpListener};
use tokio::sync::watch;

use crate::config::{BusBackend, Config, Mode, WechatMode, pem};
use crate::feed::Feed;
use crate::identity::Sessions;
use crate::kernel::{Clock, Code, Failure, Millis, Result, common, day_ms};
use crate::payments::{Channel, Provider};
use crate::platform::bus::{self, Bus, Subscription};
use crate::platform::caches::{self, Caches, Watched, on_cache_dropped};
use crate::platform::ctx::{Ctx, Parts};
use crate::platform::db::{BoxFuture, Db, Work};
use crate::platform::inbox::{self, Handler, Inbox};
use crate::platform::kv::Kv;
use crate::platform::patience::{WORK_LIMIT, within};
use crate::platform::secrets::Secrets;
use crate::platform::worker::Worker;
use crate::platform::{alerts, idempotency, proposals, web};
use crate::routes::{Leaving, Surface};
use crate::sandbox::{self, Sandbox, demo as demo_keys};
use crate::staff::FirstAccount;
use crate::stores::Stores;
use crate::telemetry::Metrics;
use crate::wechat::mini::{Mini, MiniOptions};
use crate::wechat::pay::{Pay, PayOptions};
use crate::wechat::push::{Push, PushOptions};
use crate::{
    accounts, addresses, cart, catalog, checks, coupons, feed, identity, notifications, order_views, orders,
    payments, refunds, routes, shipping, staff, stores,
};

/// WeChat Pay's API, and its second address for when the first can't be reached. What is configured in place of
/// the first, a gateway or a stand-in, has none: nothing may go around it.
const PAY_URL: &str = "https://api.mch.weixin.qq.com";
const PAY_FALLBACK_URL: &str = "https://api2.mch.weixin.qq.com";

/// How a program is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By a person who waits for it.
    Now,
    /// By what runs it, beside others that go on: first they are given the requests that would come here.
    InTurn,
}

/// A wired program: its parts are public for tests and commands.
pub struct App {
    pub ctx: Ctx,
    pub surface: Surface,
    /// Runs beside the server in sandbox mode.
    pub sandbox: Option<Sandbox>,
    /// Made by this start.
    pub first_account: Option<FirstAccount>,
    /// Base URL of the API, as bound.
    pub url: String,
    workers: Vec<Worker>,
    acceptor: Option<NoDelay>,
}

/// The catalogue of all codes.
pub fn codes() -> Vec<&'static Code> {
    let tables: [&[&'static Code]; 21] = [
        common::CODES,
        bus::CODES,
        inbox::CODES,
        alerts::CODES,
        proposals::CODES,
        web::CODES,
        caches::CODES,
        staff::CODES,
        identity::CODES,
        addresses::CODES,
        stores::CODES,
        catalog::CODES,
        coupons::CODES,
        cart::CODES,
        orders::CODES,
        payments::CODES,
        refunds::CODES,
        shipping::CODES,
        notifications::CODES,
        feed::CODES,
        accounts::CODES,
    ];
    let mut codes = tables.concat();
    codes.extend_from_slice(order_views::CODES);
    codes
}

impl App {
    /// A server: opens the ports, migrates, binds the address, starts the sandbox if it is to play WeChat.
    ///
    /// # Errors
    /// Whatever keeps the program from starting, with what to do about it.
    pub async fn build(mut config: Config, clock: Clock) -> Result<Self> {
        refuse_unsafe(&config)?;
        let acceptor = bind(&config.server.listen).await?;
        let url = acceptor.url();
        if config.server.public_url.is_empty() {
            config.server.public_url.clone_from(&url);
        }
        let sandbox = match config.wechat.mode {
            WechatMode::Sandbox => Some(start_sandbox(&config, &clock, &url).await?),
            WechatMode::Live => None,
        };
        if let Some(sandbox) = &sandbox {
            use_demo_identity(&mut config, sandbox.url());
        }
        let app = Self::wire(config, clock, url, sandbox).await?;
        Ok(Self { acceptor: Some(acceptor), ..app })
    }

    /// A worker: all of the background work, and no address that answers the API. Beside servers that share
    /// its database, kv tier and bus.
    ///
    /// # Errors
    /// Whatever keeps the program from starting, with what to do about it.
    pub async fn build_worker(mut config: Config, clock: Clock) -> Result<Self> {
        refuse_unsafe(&config)?;
        if config.bus.backend == BusBackend::Embedded {
            let what = "events of the embedded bus stay in their process; set bus.backend to \"rocketmq\"";
            return Err(Failure::internal("starting a worker", what));
        }
        if config.bus.node_name.is_empty() {
            // The address in the configuration is the server's.
            config.bus.node_name = format!("worker-{}", std::process::id());
        }
        let url = config.server.public_url.clone();
        if config.wechat.mode == WechatMode::Sandbox {
            let sandbox_url = format!("http://{}", config.sandbox.listen);
            use_demo_identity(&mut config, &sandbox_url);
        }
        Self::wire(config, clock, url, None).await
    }

    async fn wire(config: Config, clock: Clock, url: String, sandbox: Option<Sandbox>) -> Result<Self> {
        let (mini, push, channel) = clients(&config, &clock)?;
        let ctx = Self::context(config, clock).await?;
        ctx.db.migrate().await?;
        let first_account = staff::ensure_first(&ctx).await?;
        let sessions = Sessions::default();
        let stores = Stores::new(&ctx);
        stores.start(&ctx).await?;
        let caches = caches(&sessions, &stores);
        let feed = Feed::new(ctx.config.server.feed_connections);
        ctx.bus.subscribe(&ctx, subscriptions(&sessions, &stores, &caches, &feed));
        let workers = workers(&mini, &channel);
        let phone_origin = sandbox.as_ref().map(|sandbox| sandbox.url().to_owned());
        let leaving = Leaving::default();
        let surface = Surface {
            ctx: ctx.clone(),
            mini,
            push,
            channel,
            sessions,
            stores,
            feed,
            caches,
            leaving,
            phone_origin,
        };
        Ok(Self { ctx, surface, sandbox, first_account, url, workers, acceptor: None })
    }

    /// The ports alone, for commands that serve nothing.
    ///
    /// # Errors
    /// A port can't be opened, or a secret is no secret.
    pub async fn context(config: Config, clock: Clock) -> Result<Ctx> {
        let db = Db::open(&config.database).await?;
        let secrets = Secrets::new(&config.secrets)?;
        let metrics = Arc::new(Metrics::default());
        let kv = Kv::open(&config.kv, clock.clone(), metrics.clone()).await?;
        let bus = Bus::open(&config, &clock)?;
        Ok(Ctx::new(Parts { db, kv, bus, clock, config, secrets, metrics, codes: codes() }))
    }

    /// The bound address, for somebody who serves [`routes::routes`] without the background work (tests).
    pub fn take_acceptor(&mut self) -> Option<NoDelay> {
        self.acceptor.take()
    }

    /// One round of all background work that is due. Answers how much was done.
    ///
    /// # Errors
    /// The database.
    pub async fn tick(&self) -> Result<usize> {
        let mut done = 0;
        for worker in &self.workers {
            done += worker.tick(&self.ctx).await?;
        }
        Ok(done)
    }

    /// One look of the backstop at what lost messages left behind, and the clean-up of what nobody needs.
    ///
    /// # Errors
    /// The database.
    pub async fn sweep(&self) -> Result<usize> {
        sweep(&self.ctx).await
    }

    /// Works until `stop`, then lets requests in flight end and stops the background work cleanly.
    ///
    /// # Errors
    /// The listener broke.
    pub async fn serve(mut self, stop: impl Future<Output = Stop> + Send + 'static) -> Result<()> {
        let acceptor = self.take_acceptor();
        let (stopping, stopped) = watch::channel(false);
        let mut background = tokio::task::JoinSet::new();
        for worker in self.workers.clone() {
            let (ctx, stopped) = (self.ctx.clone(), stopped.clone());
            background.spawn(async move { worker.run(&ctx, stopped).await });
        }
        background.spawn(sweep_loop(self.ctx.clone(), stopped.clone()));
        if let Some(sandbox) = self.sandbox.clone() {
            let mut stopped = stopped.clone();
            background.spawn(async move {
                tokio::select! {
                    () = sandbox.run() => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        }
        if !self.ctx.config.server.metrics_listen.is_empty() {
            let metrics = bind(&self.ctx.config.server.metrics_listen).await?;
            let mut stopped = stopped.clone();
            let endpoint = routes::metrics_route(&self.surface);
            background.spawn(async move {
                let ended = async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                };
                if let Err(error) =
                    Server::new_with_acceptor(metrics).run_with_graceful_shutdown(endpoint, ended, None).await
                {
                    tracing::error!("the metrics address is gone: {error}");
                }
            });
        }
        let (feed, leaving) = (self.surface.feed.clone(), self.surface.leaving.clone());
        let drain = Duration::from_millis(self.ctx.config.server.drain_ms);
        let is_worker = acceptor.is_none();
        let stop = async move {
            if stop.await == Stop::InTurn && !is_worker {
                leaving.begin();
                tokio::time::sleep(drain).await;
            }
            // Who listens would keep the server from ending.
            feed.close();
        };
        let grace = Duration::from_millis(self.ctx.config.server.shutdown_grace_ms);
        let served = match acceptor {
            Some(acceptor) => {
                Server::new_with_acceptor(acceptor)
                    .run_with_graceful_shutdown(routes::routes(&self.surface), stop, Some(grace))
                    .await
            }
            // A worker.
            None => {
                stop.await;
                Ok(())
            }
        };
        let _ = stopping.send(true);
        if tokio::time::timeout(grace, background.join_all()).await.is_err() {
            tracing::warn!("background work did not end in time; what it left is taken up at the next start");
        }
        if let Some(sandbox) = &self.sandbox {
            sandbox.stop().await;
        }
        self.ctx.bus.close().await;
        self.ctx.db.close().await;
        served.map_err(|e| Failure::internal("serving", e))
    }
}

/// The caches that people look at and drop.
fn caches(sessions: &Sessions, stores: &Stores) -> Caches {
    let mut list: Vec<Arc<dyn Watched>> = stores.caches().into();
    list.push(Arc::new(sessions.clone()));
    list.push(Arc::new(shipping::CarriersCache));
    Caches::new(list)
}

/// The list of all subscriptions. The sender of an event knows none of them.
fn subscriptions(sessions: &Sessions, stores: &Stores, caches: &Caches, feed: &Feed) -> Vec<Subscription> {
    let (sessions, stores, caches) = (sessions.clone(), stores.clone(), caches.clone());
    let mut list = vec![
        Subscription::new("platform.cache-dropped", &["CacheDropped"], move |ctx, d| {
            let caches = caches.clone();
            Box::pin(async move { on_cache_dropped(&caches, ctx, d).await })
        }),
        Subscription::new("identity.session-revoked", &["SessionRevoked"], move |_, d| {
            let sessions = sessions.clone();
            Box::pin(async move { identity::on_session_revoked(&sessions, d).await })
        }),
        Subscription::new("stores.changed", &["StoreChanged"], move |_, d| {
            let stores = stores.clone();
            Box::pin(async move { stores::on_store_changed(&stores, d).await })
        }),
        Subscription::new("coupons.new-user", &["UserRegistered"], |ctx, d| {
            Box::pin(coupons::on_user_registered(ctx, d))
        }),
        Subscription::new("orders.payment-deadline", &["PaymentDeadline"], |ctx, d| {
            Box::pin(orders::on_payment_deadline(ctx, d))
        }),
        Subscription::new("orders.completion", &["CompletionDue"], |ctx, d| {
            Box::pin(orders::on_completion_due(ctx, d))
        }),
        Subscription::new("orders.pickup-reminder", &["PickupReminderDue"], |ctx, d| {
            Box::pin(orders::on_pickup_reminder_due(ctx, d))
        }),
        Subscription::new("orders.after-sale", &["AfterSaleEnded"], |ctx, d| {
            Box::pin(orders::on_after_sale_ended(ctx, d))
        }),
        Subscription::new("payments.close", &["OrderClosing"], |ctx, d| {
            Box::pin(payments::on_order_closing(ctx, d))
        }),
        Subscription::new("refunds.orphan", &["PaymentOrphaned"], |ctx, d| {
            Box::pin(refunds::on_payment_orphaned(ctx, d))
        }),
        Subscription::new("refunds.cancelled", &["CancelledOrderPaid"], |ctx, d| {
            Box::pin(refunds::on_cancelled_order_paid(ctx, d))
        }),
        Subscription::new("refunds.return", &["ReturnDue"], |ctx, d| {
            Box::pin(refunds::on_return_due(ctx, d))
        }),
        Subscription::new("coupons.refund", &["RefundSettled"], |ctx, d| {
            Box::pin(coupons::on_refund_settled(ctx, d))
        }),
    ];
    list.extend(shipping::subscriptions());
    list.extend(notifications::subscriptions());
    list.extend(feed::subscriptions());
    list.push(feed.subscription());
    list
}

/// Who settles which kind of notice.
fn notice_handlers() -> Inbox {
    Inbox::new(vec![
        Handler::new(payments::PAYMENT_NEWS, |ctx, n| Box::pin(payments::settle_notice(ctx, n))),
        Handler::new(payments::REFUND_NEWS, |ctx, n| Box::pin(refunds::settle_notice(ctx, n))),
        Handler::new(refunds::NO_MONEY, |ctx, n| Box::pin(refunds::settle_notice(ctx, n))),
        Handler::new(refunds::PROOF, |ctx, n| Box::pin(refunds::settle_notice(ctx, n))),
        Handler::new(shipping::PUSH_NEWS, |ctx, n| Box::pin(shipping::settle_notice(ctx, n))),
    ])
}

fn workers(mini: &Mini, channel: &Channel) -> Vec<Worker> {
    let inbox = Arc::new(notice_handlers());
    let settling = inbox.clone();
    let (paying, refunding, shipping_mini, messages_mini) =
        (channel.clone(), channel.clone(), mini.clone(), mini.clone());
    vec![
        Worker::new(
            "bus",
            Work::Bus,
            |ctx| Box::pin(ctx.bus.tick(ctx)),
            |ctx| Box::pin(ctx.bus.next_due(ctx)),
        ),
        Worker::new(
            "inbox",
            Work::Inbox,
            move |ctx| {
                let inbox = inbox.clone();
                Box::pin(async move { inbox.tick(ctx).await })
            },
            move |ctx| {
                let inbox = settling.clone();
                Box::pin(async move { inbox.next_due(ctx).await })
            },
        ),
        Worker::new(
            "payments",
            Work::Payments,
            move |ctx| {
                let channel = paying.clone();
                Box::pin(async move { payments::tick(ctx, &channel).await })
            },
            |ctx| Box::pin(payments::next_due(ctx)),
        ),
        Worker::new(
            "refunds",
            Work::Refunds,
            move |ctx| {
                let channel = refunding.clone();
                Box::pin(async move { refunds::tick(ctx, &channel).await })
            },
            |ctx| Box::pin(refunds::next_due(ctx)),
        ),
        Worker::new(
            "shipping",
            Work::Shipping,
            move |ctx| {
                let mini = shipping_mini.clone();
                Box::pin(async move { shipping::tick(ctx, &mini).await })
            },
            |ctx| Box::pin(shipping::next_due(ctx)),
        ),
        Worker::new(
            "messages",
            Work::Messages,
            move |ctx| {
                let mini = messages_mini.clone();
                Box::pin(async move { notifications::tick(ctx, &mini).await })
            },
            |ctx| Box::pin(notifications::next_due(ctx)),
        ),
    ]
}

async fn sweep_loop(ctx: Ctx, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if ctx.config.sweep.enabled {
            // Said already.
            let _ = sweep(&ctx).await;
        }
        if let Err(failure) = within(WORK_LIMIT, "measuring", checks::measure(&ctx)).await {
            tracing::warn!("levels were not measured: {failure}");
        }
        let next_ms = ctx.clock.now_ms() + ctx.config.sweep.interval_s * 1_000;
        tokio::select! {
            () = ctx.clock.sleep_until(next_ms) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// One part that fails keeps none of the others from its turn; the first failure is the answer.
async fn sweep(ctx: &Ctx) -> Result<usize> {
    let parts: [(_, BoxFuture<'_, _>); 7] = [
        ("orders", Box::pin(orders::sweep(ctx))),
        ("coupons", Box::pin(coupons::sweep(ctx))),
        ("refunds", Box::pin(refunds::sweep(ctx))),
        ("staff", Box::pin(staff::sweep(ctx))),
        ("feed", Box::pin(feed::sweep(ctx))),
        ("lost messages", Box::pin(ctx.bus.heal(ctx))),
        ("what is old", Box::pin(forget(ctx))),
    ];
    let (mut done, mut first) = (0, None);
    for (what, part) in parts {
        match within(WORK_LIMIT, what, part).await {
            Ok(some) => done += some,
            Err(failure) => {
                tracing::error!("the sweep of {what} could not work: {failure}");
                first = first.or(Some(failure));
            }
        }
    }
    first.map_or(Ok(done), Err)
}

/// Deletes what was kept long enough.
async fn forget(ctx: &Ctx) -> Result<usize> {
    let now_ms = ctx.clock.now_ms();
    let events_before: Millis = now_ms - day_ms(ctx.config.bus.keep_days);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                idempotency::delete_old(tx, now_ms - day_ms(2)).await?;
                bus::delete_old(tx, events_before).await
            })
        })
        .await?;
    Ok(0)
}

/// Production runs on real secrets, real WeChat, and an address that WeChat can reach.
pub fn refuse_unsafe(config: &Config) -> Result<()> {
    if config.mode == Mode::Development {
        return Ok(());
    }
    let refuse = |what: &str| Err(Failure::internal("starting in production mode", what));
    if config.has_demo_master_key() {
        return refuse("secrets.master_key is the public demo key; make one: openssl rand -hex 32");
    }
    if config.wechat.mode == WechatMode::Sandbox {
        return refuse(
            "wechat.mode is \"sandbox\"; set it to \"live\" and give appid, secret and the wechat_pay keys",
        );
    }
    if config.wechat_pay.apiv3_key == demo_keys::APIV3_KEY
        || config.wechat.secret == demo_keys::APP_SECRET
        || pem(&config.wechat_pay.merchant_private_key)?.trim() == demo_keys::MERCHANT_PRIVATE_KEY_PEM.trim()
    {
        return refuse("a key of the sandbox is in use; take the merchant's and the mini-program's own");
    }
    if !is_public(&config.server.public_url) {
        return refuse("server.public_url must be https:// and a public host name: WeChat Pay calls it");
    }
    Ok(())
}

/// https and the name of a host, which is neither a number nor this machine.
fn is_public(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.domain().unwrap_or_default().trim_end_matches('.');
    let is_here = host.is_empty() || host == "localhost" || host.ends_with(".localhost");
    url.scheme() == "https" && !is_here && url.username().is_empty() && url.password().is_none()
}

async fn start_sandbox(config: &Config, clock: &Clock, url: &str) -> Result<Sandbox> {
    if let Some(folder) = std::path::Path::new(&config.sandbox.database).parent() {
        std::fs::create_dir_all(folder).map_err(|e| Failure::internal("making the sandbox's folder", e))?;
    }
    Sandbox::start(sandbox::Options {
        listen: config.sandbox.listen.clone(),
        database: config.sandbox.database.clone(),
        clock: clock.clone(),
        clock_is_shared: true,
        shop_url: Some(url.to_owned()),
        push_url: Some(format!("{url}/callbacks/wechat/messages")),
    })
    .await
}

/// In sandbox mode WeChat is the sandbox, with its keys; template ids that are set stay.
fn use_demo_identity(config: &mut Config, sandbox_url: &str) {
    let wechat = &mut config.wechat;
    wechat.base_url = sandbox_url.to_owned();
    wechat.appid = demo_keys::APPID.to_owned();
    wechat.secret = demo_keys::APP_SECRET.to_owned();
    wechat.push_token = demo_keys::PUSH_TOKEN.to_owned();
    wechat.push_encoding_aes_key = demo_keys::PUSH_ENCODING_AES_KEY.to_owned();
    for (template, id) in [
        (&mut wechat.templates.wait_pay, demo_keys::TEMPLATE_WAIT_PAY),
        (&mut wechat.templates.cancel, demo_keys::TEMPLATE_CANCELLED),
        (&mut wechat.templates.confirm, demo_keys::TEMPLATE_CONFIRM),
        (&mut wechat.templates.pay, demo_keys::TEMPLATE_PAID),
        (&mut wechat.templates.finished, demo_keys::TEMPLATE_FINISHED),
        (&mut wechat.templates.refund, demo_keys::TEMPLATE_REFUND),
    ] {
        if template.is_empty() {
            *template = id.to_owned();
        }
    }
    let pay = &mut config.wechat_pay;
    pay.base_url = sandbox_url.to_owned();
    pay.mchid = demo_keys::MCHID.to_owned();
    pay.merchant_serial = demo_keys::MERCHANT_SERIAL.to_owned();
    pay.merchant_private_key = demo_keys::MERCHANT_PRIVATE_KEY_PEM.to_owned();
    pay.apiv3_key = demo_keys::APIV3_KEY.to_owned();
    pay.public_key_id = demo_keys::PUBLIC_KEY_ID.to_owned();
    pay.public_key = demo_keys::PUBLIC_KEY_PEM.to_owned();
}

/// Clients of WeChat, the message push, and the payment channel.
///
/// # Errors
/// A key that is missing or unusable; the text names it.
pub fn clients(config: &Config, clock: &Clock) -> Result<(Mini, Push, Channel)> {
    let wechat = &config.wechat;
    let named = |place: &'static str| move |why| Failure::internal(format!("reading {place}"), why);
    let mini = MiniOptions {
        base_url: wechat.base_url.clone(),
        appid: wechat.appid.clone(),
        secret: wechat.secret.clone(),
        timeout_ms: wechat.timeout_ms,
    };
    let mini = Mini::new(mini, clock.clone()).map_err(named("[wechat]"))?;
    let aes_key = Some(wechat.push_encoding_aes_key.clone()).filter(|key| !key.is_empty());
    let push = Push::new(PushOptions {
        appid: wechat.appid.clone(),
        token: wechat.push_token.clone(),
        encoding_aes_key: aes_key,
    })
    .map_err(named("wechat.push_token and wechat.push_encoding_aes_key"))?;
    let pay = &config.wechat_pay;
    let mut public_keys = Vec::new();
    for (id, key) in [(&pay.public_key_id, &pay.public_key), (&pay.next_public_key_id, &pay.next_public_key)]
    {
        if !id.is_empty() {
            public_keys.push((id.clone(), pem(key)?));
        }
    }
    let pay = PayOptions {
        base_url: pay.base_url.clone(),
        fallback_url: fallback_of(&pay.base_url),
        appid: wechat.appid.clone(),
        mchid: pay.mchid.clone(),
        merchant_serial: pay.merchant_serial.clone(),
        merchant_private_key_pem: pem(&pay.merchant_private_key)?,
        apiv3_key: pay.apiv3_key.clone(),
        public_keys,
        platform_certificates: pay.platform_certificates,
        timeout_ms: pay.timeout_ms,
    };
    let pay = Pay::new(pay, clock.clone()).map_err(named("[wechat_pay]"))?;
    let public_url = config.server.public_url.trim_end_matches('/').to_owned();
    Ok((mini, push, Channel { provider: Provider::WechatPay(pay), public_url }))
}

fn fallback_of(base_url: &str) -> Option<String> {
    (base_url.trim_end_matches('/') == PAY_URL).then(|| PAY_FALLBACK_URL.to_owned())
}

async fn bind(listen: &str) -> Result<NoDelay> {
    let acceptor = TcpListener::bind(listen.to_owned()).into_acceptor().await.map_err(|e| {
        Failure::internal(
            format!("binding {listen}: is another program there? Set server.listen to another address"),
            e,
        )
    })?;
    Ok(NoDelay(acceptor))
}

/// TCP without Nagle's delay: small answers go out at once.
pub struct NoDelay(TcpAcceptor);

impl NoDelay {
    fn url(&self) -> String {
        let address = self.0.local_addr().first().and_then(|local| local.as_socket_addr().copied());
        address.map(|address: SocketAddr| format!("http://{address}")).unwrap_or_default()
    }
}

impl Acceptor for NoDelay {
    type Io = <TcpAcceptor as Acceptor>::Io;

    fn local_addr(&self) -> Vec<poem::web::LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(
        &mut self,
    ) -> std::io::Result<(Self::Io, poem::web::LocalAddr, poem::web::RemoteAddr, poem::http::uri::Scheme)>
    {
        let accepted = self.0.accept().await?;
        accepted.0.set_nodelay(true)?;
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::{PAY_FALLBACK_URL, fallback_of};
    use crate::config::Config;

    #[test]
    fn only_wechat_pays_own_address_has_a_second_one() {
        let own = Config::defaults().unwrap().wechat_pay.base_url;
        assert_eq!(fallback_of(&own).as_deref(), Some(PAY_FALLBACK_URL));
        assert_eq!(fallback_of("http://127.0.0.1:8081"), None);
        assert_eq!(fallback_of("https://pay-gateway.example.com"), None);
    }
}
