//! What the gate counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of the gate, from its start.
        #[derive(Debug, Default)]
        pub struct GateCounters { $($(#[$doc])* pub(super) $name: AtomicU64),* }

        /// One reading of the gate's counters.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct GateSnapshot { $($(#[$doc])* pub $name: u64),* }

        impl GateCounters {
            pub(super) fn snapshot(&self) -> GateSnapshot {
                GateSnapshot { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }

        impl GateSnapshot {
            /// Name and value of each counter, for the metrics page.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Connections let in.
    connected,
    /// Refused for want of room.
    full,
    /// TLS handshakes that failed, a wrong authority's certificate among them.
    tls_failed,
    /// Certificates that are no agent's of this site.
    foreign_certificate,
    /// Certificates and cameras on the deny list, at the door or cut off.
    denied,
    /// Cut off for something a camera may not do.
    rule_broken,
    /// Cut off for bytes that are no MQTT.
    malformed,
    /// Cut off for silence or slowness.
    timed_out,
    /// Replaced by a newer connection of the same camera.
    superseded,
    /// Messages taken from clients.
    messages_in,
    /// Messages given to clients.
    messages_out,
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
