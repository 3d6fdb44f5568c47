//! How a connection is made: to one server, to the master that the sentinels name, or to a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    Pipeline, RedisError, RedisFuture, RedisResult, TlsCertificates, TlsMode, Value, cmd, from_redis_value,
};
use tokio::sync::Mutex;

use crate::config::{self, KvBackend, pem};
use crate::kernel::{Failure, Millis, Result};

/// Commands that wait to be written; the timeout of a call bounds how long.
const QUEUE: usize = 1_024;
/// Tries of the cluster client within the timeout of one call: what moved is asked for at its new place.
const CLUSTER_RETRIES: u32 = 3;

pub(super) enum Server {
    Alone(Client),
    /// Asked for the master anew for every connection, so a failover is followed.
    Sentinel(Mutex<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

/// Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Server {
    /// # Errors
    /// A URL or a certificate that can't be read. The text has no URL in it: there are passwords in them.
    pub fn new(config: &config::Kv) -> Result<Self> {
        Self::read(config).map_err(|error| Failure::internal("reading [kv]", error))
    }

    fn read(config: &config::Kv) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let urls = config.urls.iter().map(|url| url.as_str().into_connection_info());
        let nodes: Vec<ConnectionInfo> = urls.collect::<RedisResult<_>>()?;
        let first = nodes.first().ok_or("kv.urls is empty")?;
        let has_tls = matches!(first.addr(), ConnectionAddr::TcpTls { .. });
        let ca = pem(&config.tls_ca)?;
        let certificates = (has_tls && !ca.is_empty())
            .then(|| TlsCertificates { client_tls: None, root_cert: Some(ca.into_bytes()) });
        Ok(match config.backend {
            KvBackend::RedisSentinel => {
                let addresses = nodes.iter().map(|node| node.addr().clone());
                let builder = SentinelClientBuilder::new(
                    addresses,
                    &config.sentinel_master,
                    SentinelServerType::Master,
                )?;
                let builder = with_identities(builder, config, first);
                let builder = if has_tls { with_tls(builder, certificates) } else { builder };
                Self::Sentinel(Mutex::new(builder.build()?))
            }
            KvBackend::RedisCluster => {
                let timeout = Duration::from_millis(config.timeout_ms);
                let mut builder = ClusterClient::builder(nodes)
                    .retries(CLUSTER_RETRIES)
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    .overall_response_timeout(Some(timeout));
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Self::Cluster(Box::new(builder.build()?))
            }
            KvBackend::Redis | KvBackend::Embedded => Self::Alone(match certificates {
                Some(certificates) => Client::build_with_tls(first.clone(), certificates)?,
                None => Client::open(first.clone())?,
            }),
        })
    }

    pub async fn connect(&self, timeout: Duration) -> RedisResult<Connection> {
        // What a call waits for is bounded where it is made.
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(timeout))
            .set_pipeline_buffer_size(QUEUE);
        Ok(match self {
            Self::Alone(client) => {
                Connection::Single(client.get_multiplexed_async_connection_with_config(&options).await?)
            }
            Self::Sentinel(client) => {
                Connection::Single(client.lock().await.get_async_connection_with_config(&options).await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// The URLs' user, password and database are the master's; the sentinels have their own, or none.
fn with_identities(
    mut builder: SentinelClientBuilder,
    config: &config::Kv,
    master: &ConnectionInfo,
) -> SentinelClientBuilder {
    let master = master.redis_settings();
    builder = builder.set_client_to_redis_db(master.db());
    if let Some(user) = master.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = master.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if !config.sentinel_user.is_empty() {
        builder = builder.set_client_to_sentinel_username(&config.sentinel_user);
    }
    if !config.sentinel_password.is_empty() {
        builder = builder.set_client_to_sentinel_password(&config.sentinel_password);
    }
    builder
}

fn with_tls(
    mut builder: SentinelClientBuilder,
    certificates: Option<TlsCertificates>,
) -> SentinelClientBuilder {
    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// What a server says of itself.
pub(super) struct Told {
    pub version: String,
    pub maxmemory_policy: String,
    pub now_ms: Millis,
}

/// Asks one server; in a cluster, any of them.
pub(super) async fn told(connection: &mut Connection) -> RedisResult<Told> {
    let info: String = match connection {
        Connection::Single(connection) => cmd("INFO").query_async(connection).await?,
        Connection::Cluster(connection) => {
            let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
            from_redis_value(connection.route_command(cmd("INFO"), any).await?)?
        }
    };
    let (seconds, micros): (i64, i64) = cmd("TIME").query_async(connection).await?;
    let line = |name: &str| {
        let lines = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.unwrap_or_default().trim().to_owned()
    };
    let version = line("redis_version");
    if version.is_empty() {
        return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "INFO names no version")));
    }
    Ok(Told { version, maxmemory_policy: line("maxmemory_policy"), now_ms: seconds * 1_000 + micros / 1_000 })
}
