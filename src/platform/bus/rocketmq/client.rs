//! The client's runtimes and their configuration.

use std::sync::Arc;
use std::time::Duration;

use rocketmq_client_rust::{
    AclClientRPCHook, ClientConfig, ClientRuntime, ClientRuntimeConfig, SessionCredentials,
};
use rocketmq_observability::TelemetryHandle;
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use rocketmq_transport::api::RPCHook;

use super::Options;

/// How long a running handler may take to end when the program stops, ms.
pub const HANDLER_GRACE_MS: u64 = 15_000;
/// The client refuses less.
const INTERVAL_MS: u32 = 10_000;

/// Threads of the client, and what runs on them.
pub struct Client {
    owner: RuntimeOwner,
    pub runtime: Arc<ClientRuntime>,
}

impl Client {
    /// A client whose callbacks may run `callbacks` at a time.
    ///
    /// # Errors
    /// The threads can't be started, in the client's words.
    pub fn start(name: &'static str, callbacks: usize) -> Result<Self, String> {
        let mut config = RuntimeConfig::for_parallelism(name, 2)
            .with_max_blocking_threads((callbacks + 16).min(512))
            .map_err(|error| format!("{error:?}"))?;
        // Trap 1: callbacks run on this lane, which takes 2 × cores at once, queues 8 × cores for 5 s, and
        // reports what does not fit as failed consumption, so messages would be repeated without a cause.
        let lane = &mut config.blocking_lane_policies.metadata_io;
        lane.max_concurrency = callbacks;
        lane.max_queue_depth = 65_536;
        lane.queue_timeout = Duration::from_mins(10);
        lane.task_timeout = Duration::from_mins(15);
        lane.warn_after = Duration::from_secs(10);
        let owner = RuntimeOwner::plan(config)
            .map_err(|error| format!("{error:?}"))?
            .build()
            .map_err(|error| format!("{error:?}"))?;
        let context = owner.root_context().component("client");
        let runtime =
            ClientRuntime::try_new(context, ClientRuntimeConfig::default(), TelemetryHandle::noop())
                .map_err(|error| error.to_string())?;
        Ok(Self { owner, runtime })
    }

    /// Ends what still runs. Producers and consumers are shut down before.
    pub async fn stop(self) {
        let healthy = self.runtime.shutdown().await.is_healthy();
        let joined = self.owner.shutdown_tasks().await.is_healthy();
        let ended = self.owner.shutdown_background().is_healthy();
        if !(healthy && joined && ended) {
            tracing::debug!("the RocketMQ client did not stop cleanly");
        }
    }
}

/// The configuration of one producer or of the consumers, under a name of its own.
///
/// Trap 4: two clients on a host that are both called `ip@DEFAULT` take each other's queues.
pub fn config(options: &Options, instance: &str) -> ClientConfig {
    let mut config = ClientConfig::default();
    config.set_namesrv_addr(options.name_server.clone().into());
    config.set_instance_name(instance.to_owned().into());
    config.set_poll_name_server_interval(INTERVAL_MS);
    config.set_heartbeat_broker_interval(INTERVAL_MS);
    config.set_pull_time_delay_millis_when_exception(500);
    if options.tls {
        config.set_use_tls(true);
        if !options.tls_ca.is_empty() {
            config.set_tls_client_trust_cert_path(options.tls_ca.clone());
        }
        config.set_tls_client_auth_server(true);
    }
    config
}

/// Signs every call, where the broker asks for it.
pub fn signer(options: &Options) -> Option<Arc<dyn RPCHook>> {
    if options.access_key.is_empty() {
        return None;
    }
    let credentials = SessionCredentials::with_keys(options.access_key.clone(), options.secret_key.clone());
    Some(Arc::new(AclClientRPCHook::new(credentials)))
}
