//! What comes from the server: checked against its signature, this camera, the time and the counters before it means anything.

use std::path::Path;

use custody_shared::cose::VerifyingKey;
use custody_shared::id::{CameraId, SiteId};
use custody_shared::message::{Acked, Command, CounterGuard, Downlink, MessageError};
use custody_shared::time::UtcMicros;
use custody_shared::topic::Topic;

use crate::counters::Counters;
use crate::keeper::Head;

/// What the server wants or says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It has everything up to here.
    Acked(Head, UtcMicros),
    /// It wants sealed files.
    Fetch {
        /// First number.
        first: u64,
        /// Last number.
        last: u64,
    },
    /// It wants a restart.
    Restart,
    /// It announces keys; verified by the shelf that holds them.
    Keys(Vec<u8>),
}

/// Why a message means nothing.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not one of this camera's topics.
    #[error("it came on a topic that was not asked for")]
    Topic,
    /// Forged, foreign, expired or replayed.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// The counter could not be made durable, so obeying could be repeated.
    #[error("its counter cannot be stored: {0}")]
    Store(#[from] std::io::Error),
}

/// Checks messages.
#[derive(Debug)]
pub struct Orders {
    site: SiteId,
    camera: CameraId,
    server: VerifyingKey,
    receipts: CounterGuard,
    commands: Counters,
}

impl Orders {
    /// Opens the stored counters.
    pub fn open(path: &Path, server: VerifyingKey, site: SiteId, camera: CameraId) -> std::io::Result<Self> {
        Ok(Self {
            site,
            camera,
            server,
            receipts: CounterGuard::default(),
            commands: Counters::open(path)?,
        })
    }

    /// What a message on `topic` says, if it may be believed at the time `now`.
    pub fn read(&mut self, topic: &str, payload: &[u8], now: UtcMicros) -> Result<Option<Order>, OrderError> {
        let topic = match Topic::parse(topic) {
            Some((site, camera, topic)) if (site, camera) == (self.site, self.camera) => topic,
            _ => return Err(OrderError::Topic),
        };
        let (key, site, camera) = (&self.server, self.site, self.camera);
        match topic {
            Topic::Acked => {
                let guard = &mut self.receipts;
                let message = Downlink::<Acked>::receive(key, payload, site, camera, now, guard)?;
                let Acked { next_index, last_hash } = message.body;
                Ok(Some(Order::Acked(Head { next_index, last_hash }, message.issued_at)))
            }
            Topic::Command => {
                let mut guard = self.commands.guard();
                let message = Downlink::<Command>::receive(key, payload, site, camera, now, &mut guard)?;
                self.commands.store(guard)?;
                Ok(Some(match message.body {
                    Command::Fetch { first_seq, last_seq } => Order::Fetch {
                        first: first_seq,
                        last: last_seq,
                    },
                    Command::Restart => Order::Restart,
                }))
            }
            Topic::Keys => Ok(Some(Order::Keys(payload.to_vec()))),
            // Witnessing needs the record's rules, which this version does not have.
            Topic::Checkpoint => Ok(None),
            Topic::Statement | Topic::Status | Topic::Health | Topic::Cosignature => Err(OrderError::Topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{camera, server_key, site, statement_key};
    use custody_shared::cose::SigningKey;

    const NOW: UtcMicros = UtcMicros::new(1_800_000_000_000_000);
    const MINUTE: i64 = 60_000_000;

    fn order(counter: u64, issued: i64, expires: i64, camera: CameraId, key: &SigningKey) -> Vec<u8> {
        let at = |minutes: i64| NOW.saturating_add(minutes * MINUTE);
        Downlink {
            site: site(),
            camera,
            counter,
            issued_at: at(issued),
            expires_at: at(expires),
            body: Command::Fetch {
                first_seq: 3,
                last_seq: 5,
            },
        }
        .sign(key)
        .expect("sign")
    }

    fn orders(folder: &Path) -> Orders {
        Orders::open(&folder.join("counters"), server_key().public(), site(), camera()).expect("open")
    }

    #[test]
    fn a_command_is_obeyed_once_even_across_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let topic = Topic::Command.path(site(), camera());
        let message = order(9, 0, 10, camera(), &server_key());
        let first = orders(folder.path()).read(&topic, &message, NOW).expect("obeyed");
        assert_eq!(first, Some(Order::Fetch { first: 3, last: 5 }));
        for counter in [9, 8, 0] {
            let again = order(counter, 0, 10, camera(), &server_key());
            let refused = orders(folder.path()).read(&topic, &again, NOW);
            assert!(
                matches!(refused, Err(OrderError::Message(MessageError::Replayed(_)))),
                "{counter}"
            );
        }
        assert!(
            orders(folder.path())
                .read(&topic, &order(10, 0, 10, camera(), &server_key()), NOW)
                .is_ok()
        );
    }

    #[test]
    fn hostile_commands_mean_nothing_and_use_up_no_counter() {
        let folder = tempfile::tempdir().expect("folder");
        let mut orders = orders(folder.path());
        let topic = Topic::Command.path(site(), camera());
        let mut flipped = order(20, 0, 10, camera(), &server_key());
        *flipped.last_mut().expect("a byte") ^= 1;
        for (flaw, message) in [
            ("forged", order(20, 0, 10, camera(), &statement_key())),
            ("flipped", flipped),
            ("expired", order(20, -20, -10, camera(), &server_key())),
            ("from the future", order(20, 10, 20, camera(), &server_key())),
            (
                "another camera's",
                order(20, 0, 10, CameraId::from_bytes([9; 16]), &server_key()),
            ),
            ("oversized", vec![0; 5000]),
            ("empty", vec![]),
        ] {
            assert!(orders.read(&topic, &message, NOW).is_err(), "{flaw}");
        }
        // A receipt is no command, whatever the topic says.
        let receipts = Topic::Acked.path(site(), camera());
        assert!(
            orders
                .read(&receipts, &order(20, 0, 10, camera(), &server_key()), NOW)
                .is_err()
        );
        for topic in ["", "custody/1/x/y/command", &Topic::Status.path(site(), camera())] {
            let message = order(20, 0, 10, camera(), &server_key());
            assert!(
                matches!(orders.read(topic, &message, NOW), Err(OrderError::Topic)),
                "{topic}"
            );
        }
        assert!(
            orders
                .read(&topic, &order(1, 0, 10, camera(), &server_key()), NOW)
                .is_ok()
        );
    }

    #[test]
    fn a_damaged_counter_is_an_error_not_a_fresh_start() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("counters"), "9x").expect("write");
        assert!(Orders::open(&folder.path().join("counters"), server_key().public(), site(), camera()).is_err());
    }
}
