//! All parts, running.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_shared::join::MqttEndpoint;
use custody_shared::time::SharedClock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::folder::Opened;
use crate::access::session::Sessions;
use crate::access::signin::Door;
use crate::agentapi::{self, AgentApi, AgentLimits};
use crate::broker::{Broker, BrokerLimits};
use crate::ca::ServerIdentity;
use crate::cli::control::{self, Control};
use crate::config::{Config, WebTls};
use crate::export::Exports;
use crate::fleet::{Fleet, FleetParts, RecordedFootage};
use crate::index::IndexStore;
use crate::ingest::{Ingest, IngestParts, ServerKeys};
use crate::keyholder::Keyholder;
use crate::record::Record;
use crate::retention::Retention;
use crate::retrieval::{Footage, Retrieval};
use crate::web::guard::Guard;
use crate::web::{self, App, AppParts, metrics, serve};

/// How long a fetch from a camera may go without progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what is due for destruction.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// Between two writings of outcomes.
const SETTLE_EVERY: Duration = Duration::from_secs(5);

/// Where the server listens.
pub struct Listeners {
    /// Pages and API.
    pub web: TcpListener,
    /// Agents' HTTPS.
    pub agents: TcpListener,
    /// MQTT.
    pub mqtt: TcpListener,
}

impl Listeners {
    /// Binds the addresses of the settings.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = async |what, address| {
            TcpListener::bind(address)
                .await
                .map_err(|source| StartError::Listen { what, address, source })
        };
        Ok(Self {
            web: bind("pages", config.web.listen).await?,
            agents: bind("agents", config.agents.listen).await?,
            mqtt: bind("mqtt", config.agents.mqtt_listen).await?,
        })
    }
}

/// A running server.
pub struct Server {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    retrieval: Arc<Retrieval>,
    intake: Intake,
}

/// What takes in from cameras; taken out when the server stops.
type Intake = Arc<Mutex<Option<(Ingest, Broker)>>>;

fn intake_counters(intake: &Intake) -> String {
    let mut out = String::new();
    if let Some((ingest, broker)) = &*intake.lock().unwrap_or_else(PoisonError::into_inner) {
        for (name, value) in ingest.counters().rows() {
            metrics::counter(&mut out, &format!("custody_ingest_{name}_total"), value);
        }
        for (name, value) in broker.counters().rows() {
            metrics::counter(&mut out, &format!("custody_gate_{name}_total"), value);
        }
    }
    out
}

fn part<E: std::fmt::Display>(part: &'static str) -> impl Fn(E) -> StartError {
    move |error| StartError::Part {
        part,
        reason: error.to_string(),
    }
}

impl Server {
    /// Opens the data folder and starts every part. Returns once all of them answer.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs.
    pub async fn start(config: Config, clock: SharedClock, listeners: Listeners) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let opened = {
            let (data, rules, clock) = (config.data.clone(), config.site.rules.clone(), Arc::clone(&clock));
            blocking("data folder", move || Opened::open(&data, rules.as_deref(), &clock)).await??
        };
        let record = opened.record.clone();
        if record.state().site().is_none() {
            return Err(super::FolderError::Unfinished(config.data.clone()).into());
        }
        let zone = record.state().site().map(|site| site.zone_name.clone());
        if zone.as_deref().is_some_and(|zone| zone != config.site.time_zone_name) {
            return Err(StartError::Part {
                part: "settings",
                reason: format!(
                    "site.time_zone is {}, but the site was made in {}; filming days and deadlines follow it, so it never changes: set it back",
                    config.site.time_zone_name,
                    zone.unwrap_or_default()
                ),
            });
        }
        let (statements, index) = opened.statements()?;
        let index: Arc<dyn IndexStore> = index;
        let keys = Arc::new(ServerKeys::open(&config.data.join("messages")).map_err(part("message keys"))?);
        let identity =
            ServerIdentity::new(Arc::clone(&opened.ca), &config.agents.hosts).map_err(part("certificates"))?;
        let stop = CancellationToken::new();

        let mqtt_port = listeners.mqtt.local_addr().map_err(part("mqtt"))?.port();
        let agents_port = listeners.agents.local_addr().map_err(part("agents"))?.port();
        let host = config.agents.hosts.first().cloned().unwrap_or_default();
        let deny = opened.ca.deny_list().clone();
        let mqtt_tls = identity.mqtt_config().map_err(part("certificates"))?;
        let broker = Broker::start(listeners.mqtt, mqtt_tls, opened.site, deny, BrokerLimits::default())
            .await
            .map_err(part("broker"))?;

        let ingest_parts = IngestParts {
            site: opened.site,
            door: broker.door().clone(),
            keys: Arc::clone(&keys),
            enrolment: Arc::new(record.clone()),
            statements: Arc::clone(&statements),
            index: Arc::clone(&index),
            clock: Arc::clone(&clock),
        };
        let (ingest, uplinks) = Ingest::start(ingest_parts).await.map_err(part("ingest"))?;
        let fleet_parts = FleetParts {
            downlinks: ingest.downlinks().clone(),
            keys: Arc::clone(&keys),
            directory: Arc::new(record.clone()),
            statements: Arc::clone(&statements),
            index: Arc::clone(&index),
            cache_dir: config.data.join("cache"),
            cache_bytes: config.footage.cache_bytes,
            patience: PATIENCE,
        };
        let fleet = Fleet::start(fleet_parts, uplinks, stop.clone()).map_err(part("sealed cache"))?;

        let mut tasks = Vec::new();
        let agents = Arc::new(AgentApi {
            ca: Arc::clone(&opened.ca),
            fleet: Arc::clone(&fleet),
            mqtt: MqttEndpoint {
                host: host.clone(),
                port: mqtt_port,
            },
            agents_url: format!("https://{}:{agents_port}", in_url(&host)),
            clock: Arc::clone(&clock),
        });
        // A crash may have come between the row that ended a certificate and the deny list.
        agents.deny_ended().await.map_err(part("deny list"))?;
        let agents_tls = identity.agents_config().map_err(part("certificates"))?;
        let agents_router = agentapi::agent_router(Arc::clone(&agents));
        tasks.push(tokio::spawn(agentapi::serve(
            listeners.agents,
            agents_tls,
            opened.site,
            agents_router,
            AgentLimits::default(),
            stop.clone(),
        )));

        let keyholder: Arc<dyn Keyholder> = opened.keyholder.clone();
        let sweep = {
            let fleet = Arc::clone(&fleet);
            Arc::new(move |camera, range| fleet.forget(camera, range))
        };
        let retention = Arc::new(Retention::new(
            record.clone(),
            Arc::clone(&keyholder),
            sweep,
            Retention::system_monotonic(),
        ));
        tick(&retention, &fleet).await;
        tasks.push(tokio::spawn(retain(
            Arc::clone(&retention),
            Arc::clone(&fleet),
            stop.clone(),
        )));

        let footage: Arc<dyn Footage> = Arc::new(RecordedFootage::new(Arc::clone(&fleet)));
        let retrieval = Retrieval::new(
            record.clone(),
            keyholder,
            Arc::clone(&footage),
            opened.ledger.verifier().clone(),
            Arc::clone(&opened.ledger_failing),
            Arc::clone(&clock),
        )
        .watching(config.data.join("ledger"));
        let retrieval = Arc::new(retrieval);
        retrieval.releases().recover().await;
        tasks.push(tokio::spawn(settle(Arc::clone(&retrieval), stop.clone())));

        let exports = Exports::new(
            record.clone(),
            Arc::clone(&retrieval),
            Arc::clone(&footage),
            opened.ledger.clone(),
        );
        let door = door(record.clone()).await?;
        let web_tls = web_tls(&config, &opened).map_err(part("pages"))?;
        let guard = Arc::new(Guard {
            hosts: config.web.hosts.clone(),
            tls: web_tls.is_some(),
        });
        let intake = Arc::new(Mutex::new(Some((ingest, broker))));
        let counters = {
            let intake = Arc::clone(&intake);
            Box::new(move || intake_counters(&intake))
        };
        let app = Arc::new(App::new(AppParts {
            config: Arc::clone(&config),
            clock,
            record: record.clone(),
            ledger: opened.ledger.clone(),
            ledger_failing: Arc::clone(&opened.ledger_failing),
            door,
            footage,
            retrieval: Arc::clone(&retrieval),
            exports: Arc::new(exports),
            other_metrics: counters,
        }));
        let router = web::router(app, guard);
        tasks.push(tokio::spawn(serve::serve(
            listeners.web,
            web_tls,
            router,
            config.web.max_connections,
            stop.clone(),
        )));

        let control = Control {
            opened,
            retention,
            fleet: Some(fleet),
            statements,
            index,
            agents_url: agents.agents_url.clone(),
        };
        tasks.push(control::listen(&config.data, control, stop.clone()).map_err(part("control socket"))?);
        Ok(Self {
            stop,
            tasks,
            retrieval,
            intake,
        })
    }

    /// Ends everything: nobody new is let in, what is being answered gets three seconds, outcomes are recorded, what was
    /// received is stored.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has nothing left to stop.
            let _ = task.await;
        }
        self.retrieval.releases().settle(true).await;
        let intake = self.intake.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((ingest, broker)) = intake {
            ingest.stop().await;
            broker.stop().await;
        }
    }
}

/// An address in brackets where a URL wants them.
pub(crate) fn in_url(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(part(what))
}

async fn door(record: Record) -> Result<Door, StartError> {
    blocking("signing in", move || Door::new(record, Arc::new(Sessions::new()))).await
}

/// TLS of the pages, where the settings want it.
fn web_tls(config: &Config, opened: &Opened) -> Result<Option<Arc<rustls::ServerConfig>>, String> {
    match &config.web.tls {
        WebTls::None => Ok(None),
        WebTls::OwnCa => {
            let identity =
                ServerIdentity::new(Arc::clone(&opened.ca), &config.web.hosts).map_err(|error| error.to_string())?;
            identity.web_config().map(Some).map_err(|error| error.to_string())
        }
        WebTls::Files { certificate, key } => {
            use rustls_pki_types::pem::PemObject;
            use rustls_pki_types::{CertificateDer, PrivateKeyDer};
            let read = |path: &std::path::Path, error: &dyn std::fmt::Display| {
                format!(
                    "{}: cannot be used ({error}); it must be PEM and readable by this user",
                    path.display()
                )
            };
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| read(certificate, &error))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| read(key, &error))?;
            let mut tls =
                rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|error| error.to_string())?
                    .with_no_client_auth()
                    .with_single_cert(chain, secret)
                    .map_err(|error| read(certificate, &error))?;
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Some(Arc::new(tls)))
        }
    }
}

/// One look at what is due; alarms go to the log, new keys to their agents.
async fn tick(retention: &Retention, fleet: &Arc<Fleet>) {
    let tick = retention.tick().await;
    for alarm in &tick.alarms {
        tracing::error!("retention: {alarm}");
    }
    for camera in tick.announced {
        if let Err(error) = fleet.publish_keys(camera).await {
            tracing::warn!(%camera, "keys are not announced yet ({error}); the agent is told when it connects");
        }
    }
}

async fn retain(retention: Arc<Retention>, fleet: Arc<Fleet>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETENTION_EVERY) => {}
        }
        tick(&retention, &fleet).await;
    }
}

async fn settle(retrieval: Arc<Retrieval>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SETTLE_EVERY) => {}
        }
        retrieval.releases().settle(false).await;
    }
}
