//! The certificate is renewed at two thirds of its life, with the key it has, over the connection it authenticates.

use std::sync::Arc;
use std::time::Duration;

use custody_shared::join::{RenewRequest, RenewResponse};
use custody_shared::message::Faults;
use custody_shared::time::SharedClock;
use rcgen::KeyPair;

use crate::backoff::Backoff;
use crate::https::Endpoint;
use crate::identity::{Identity, Life};
use crate::join::signing_request;
use crate::keeper::Pulse;
use crate::paths::{DAY_US, Folder};

/// How often the certificate's age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Renewal that still fails this long before the end is worth an alarm, µs.
const ALARM_US: i64 = 5 * DAY_US;

/// Renews for ever; ends only by being dropped.
pub async fn run(identity: Arc<Identity>, folder: Folder, clock: SharedClock, pulse: Arc<Pulse>) {
    let mut backoff = Backoff::new(Duration::from_secs(60), LOOK_EVERY);
    loop {
        let now = clock.now();
        let life = identity.credentials.life();
        pulse.set(Faults::CERTIFICATE, life.until.since(now) < ALARM_US);
        let wait = if now < life.renew_at() {
            LOOK_EVERY
        } else {
            match renew(&identity, &folder).await {
                Ok(life) => {
                    tracing::info!(until = %life.until, "the certificate is renewed");
                    backoff.reset();
                    LOOK_EVERY
                }
                Err(cause) => {
                    let wait = backoff.wait();
                    tracing::warn!(%cause, until = %life.until, "the certificate cannot be renewed yet; recording is not affected");
                    wait
                }
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Renews once.
pub async fn renew(identity: &Identity, folder: &Folder) -> Result<Life, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let key = KeyPair::from_pem(identity.credentials.key_pem()).map_err(|error| text(&error))?;
    let request = RenewRequest {
        csr_pem: signing_request(&key).map_err(|error| text(&error))?,
    };
    let body = serde_json::to_vec(&request).map_err(|error| text(&error))?;
    let endpoint = Endpoint::parse(&identity.agents_url, identity.credentials.tls()).map_err(|error| text(&error))?;
    let mut connection = endpoint.connect().await.map_err(|error| text(&error))?;
    let answer = connection
        .post_json("/agent/v1/renew", body)
        .await
        .map_err(|error| text(&error))?;
    if !answer.status.is_success() {
        return Err(format!("the server answered {}", answer.status));
    }
    let response: RenewResponse = serde_json::from_slice(&answer.body).map_err(|error| text(&error))?;
    identity.credentials.replace(folder, &response.certificate_pem)
}
