//! What the record knows of agents, as far as the fleet and the agents' interface need it.

use std::future::Future;
use std::pin::Pin;

use custody_shared::cose::VerifyingKey;
use custody_shared::id::CameraId;
use custody_shared::message::KeyAnnouncement;
use custody_shared::time::UtcMicros;

use crate::index::StatementKeys;
use crate::record::enrolment::{AgentKeys, slot_of};
use crate::record::{Record, RecordError};

/// A future of a trait's method.
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An agent that wants to join.
pub struct Joining<'a> {
    /// The token's text.
    pub token: &'a str,
    /// The place it asks for.
    pub slot: Option<&'a str>,
    /// Key of its statements.
    pub statement_public: VerifyingKey,
    /// Key of its cosignatures.
    pub witness_public: VerifyingKey,
    /// Serial number of the certificate it will get.
    pub certificate: String,
}

/// Why the record said no.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The token is unknown, wrong or over.
    #[error("{0}")]
    Token(String),
    /// The place or the key is taken.
    #[error("{0}")]
    Taken(String),
    /// The record cannot be written, so nobody joins.
    #[error("{0}")]
    Unwritable(String),
}

/// The boundary to the record: who the cameras and their agents are.
pub trait Directory: StatementKeys {
    /// The camera a token would enrol now.
    fn slot(&self, token: &str, slot: Option<&str>) -> Result<CameraId, Refused>;

    /// Records that an agent joined; its certificate is handed out only after this returns.
    fn enrol<'a>(&'a self, joining: Joining<'a>) -> Later<'a, Result<CameraId, Refused>>;

    /// Records a renewed certificate.
    fn renew(&self, camera: CameraId, serial: String, not_after: UtcMicros) -> Later<'_, Result<(), Refused>>;

    /// What people call a camera.
    fn camera_name(&self, camera: CameraId) -> Option<String>;

    /// The keys a camera's agent is to have; `None` as long as there are none.
    fn announcement(&self, camera: CameraId) -> Option<KeyAnnouncement>;

    /// Serial numbers that no gate may let in any more: of agents that were replaced or revoked.
    fn ended_certificates(&self) -> Vec<String>;
}

impl StatementKeys for Record {
    fn statement_keys(&self, camera: CameraId) -> Vec<VerifyingKey> {
        let state = self.state();
        let enrolments = state
            .camera(camera)
            .into_iter()
            .flat_map(|camera| camera.enrolments.iter().rev());
        enrolments
            .filter_map(|one| VerifyingKey::from_bytes(&one.statement_public).ok())
            .collect()
    }
}

impl Directory for Record {
    fn slot(&self, token: &str, slot: Option<&str>) -> Result<CameraId, Refused> {
        slot_of(&self.state(), token, slot, self.clock().now()).map_err(|refusal| refused(refusal.into()))
    }

    fn enrol<'a>(&'a self, joining: Joining<'a>) -> Later<'a, Result<CameraId, Refused>> {
        Box::pin(async move {
            let agent = AgentKeys {
                statement_public: *joining.statement_public.as_bytes(),
                witness_public: *joining.witness_public.as_bytes(),
                certificate: joining.certificate,
            };
            Record::enrol(self, joining.token, joining.slot, agent)
                .await
                .map_err(refused)
        })
    }

    fn renew(&self, camera: CameraId, serial: String, not_after: UtcMicros) -> Later<'_, Result<(), Refused>> {
        Box::pin(async move { self.renew_certificate(camera, serial, not_after).await.map_err(refused) })
    }

    fn camera_name(&self, camera: CameraId) -> Option<String> {
        self.state().camera(camera).map(|camera| camera.name.clone())
    }

    fn announcement(&self, camera: CameraId) -> Option<KeyAnnouncement> {
        let state = self.state();
        let keys = state.descriptors(camera);
        let issue = state.keys(camera)?.issue;
        (!keys.is_empty()).then_some(KeyAnnouncement { issue, keys })
    }

    fn ended_certificates(&self) -> Vec<String> {
        let mut ended = Vec::new();
        for camera in self.state().cameras() {
            let Some((last, earlier)) = camera.enrolments.split_last() else {
                continue;
            };
            // A renewed certificate's forerunner stays good until its own end: the answer with the new one may have been lost.
            let over = earlier.iter().chain(last.revoked.then_some(last));
            ended.extend(over.flat_map(|one| one.ended_certificates.iter().chain([&one.certificate]).cloned()));
        }
        ended
    }
}

fn refused(error: RecordError) -> Refused {
    use crate::access::Rule;
    match error.refusal() {
        Some(refusal) if refusal.rule == Rule::TokenInvalid => Refused::Token(error.to_string()),
        Some(_) => Refused::Taken(error.to_string()),
        None => Refused::Unwritable(error.to_string()),
    }
}
