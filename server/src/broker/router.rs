//! rumqttd's router: one thread that keeps subscriptions and recent messages in memory.
//!
//! Nothing durable depends on it: agents send again what has no receipt. Should its thread die, the next connection starts a
//! new one, and everybody else reconnects.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use custody_shared::id::SiteId;
use custody_shared::topic::{DOWN, Topic, UP};
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::{Router, RouterConfig, SegmentConfig};

use super::BrokerLimits;

type Connect = dyn Fn(&str) -> Result<(LinkTx, LinkRx), Box<LinkError>> + Send + Sync;

pub(super) struct Hub {
    config: RouterConfig,
    current: RwLock<(u64, Arc<Connect>)>,
}

impl Hub {
    pub(super) fn new(site: SiteId, limits: &BrokerLimits) -> Self {
        let small = SegmentConfig {
            max_segment_size: 64 << 10,
            max_segment_count: 2,
        };
        let mut custom = HashMap::new();
        let mut filters = Vec::new();
        for topic in UP.into_iter().chain(DOWN) {
            let filter = topic.filter(site);
            custom.insert(filter.clone(), small.clone());
            filters.push(filter);
        }
        let segment = (limits.backlog_bytes / 8).max(1 << 20);
        custom.insert(
            Topic::Statement.filter(site),
            SegmentConfig {
                max_segment_size: segment,
                max_segment_count: 7,
            },
        );
        let config = RouterConfig {
            max_connections: limits.connections + 16,
            max_outgoing_packet_count: 100,
            max_segment_size: 64 << 10,
            max_segment_count: 2,
            custom_segment: Some(custom),
            // Known from the start: a message that matches no subscription yet must not be an error.
            initialized_filters: Some(filters),
            ..RouterConfig::default()
        };
        let current = RwLock::new((0, spawn(config.clone())));
        Self { config, current }
    }

    /// A link to the router under `client`'s name. Blocks for the router's short answer.
    pub(super) fn connect(&self, client: &str) -> Result<(LinkTx, LinkRx), Box<LinkError>> {
        let (generation, connect) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        match connect(client) {
            Err(error) if matches!(*error, LinkError::Send(_) | LinkError::TrySend(_)) => {}
            other => return other,
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 == generation {
            tracing::error!("the broker's router has died and is started again; agents will reconnect");
            *current = (generation + 1, spawn(self.config.clone()));
        }
        let connect = current.1.clone();
        drop(current);
        connect(client)
    }
}

fn spawn(config: RouterConfig) -> Arc<Connect> {
    let router = Router::new(0, config).spawn();
    // Wills are ours to keep (see `session`), and no session outlives its connection.
    Arc::new(move |client| {
        let (tx, rx, _) = LinkBuilder::new(client, router.clone())
            .clean_session(true)
            .build()
            .map_err(Box::new)?;
        Ok((tx, rx))
    })
}
