//! `check`: one line for each thing that recording depends on, with the remedy where something is wrong.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use custody_shared::time::{SharedClock, UtcMicros};
use tokio::time::timeout;

use crate::config::Config;
use crate::disk::{Forecast, forecast};
use crate::failure::Failure;
use crate::https::Endpoint;
use crate::identity::Identity;
use crate::key_shelf::KeyShelf;
use crate::paths::{DAY_US, Folder};
use crate::run::KEPT_DAYS;
use crate::source::{self, SourceEvent};
use crate::{keeper, link, sys};

/// How long a camera may take to show its first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(20);
/// A clock this far from the server's is wrong, µs.
const CLOCK_WRONG_US: i64 = 5 * 60 * 1_000_000;
/// A clock this far from the server's is inexact, µs.
const CLOCK_INEXACT_US: i64 = 2 * 1_000_000;
/// Fewer days of keys than this are few.
const FEW_DAYS: u16 = 14;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Recording works, but not for long or not as promised.
    Warn,
    /// Recording does not work.
    Fail,
}

/// One line of the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    grade: Grade,
    what: &'static str,
    text: String,
}

impl Line {
    fn new(grade: Grade, what: &'static str, text: impl Into<String>) -> Self {
        Self {
            grade,
            what,
            text: text.into(),
        }
    }

    /// How it is.
    pub fn grade(&self) -> Grade {
        self.grade
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "OK  ",
            Grade::Warn => "WARN",
            Grade::Fail => "FAIL",
        };
        write!(f, "{grade} {:<12} {}", self.what, self.text)
    }
}

/// Looks at everything, telling each line as soon as it is known. Returns the worst grade.
pub async fn check(config: &Path, clock: SharedClock, tell: &mut dyn FnMut(&Line)) -> Grade {
    let mut worst = Grade::Ok;
    let mut say = |line: Line| {
        worst = worst.max(line.grade);
        tell(&line);
    };
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(failure) => {
            say(failed("settings", &failure));
            return Grade::Fail;
        }
    };
    say(Line::new(Grade::Ok, "settings", "understood"));
    let folder = Folder::new(&config.data_dir);
    say(camera(&config, &clock).await);
    say(disk(&config, &folder, clock.now()));
    match Identity::load(&folder) {
        Err(failure) => say(failed("identity", &failure)),
        Ok(identity) => {
            say(certificate(&identity, clock.now()));
            say(keys(&identity, &folder, clock.now()));
            let (server, ahead) = server(&identity, &clock).await;
            say(server);
            say(clock_line(ahead, sys::clock_is_synchronised()));
            say(broker(&identity).await);
        }
    }
    worst
}

fn failed(what: &'static str, failure: &Failure) -> Line {
    Line::new(Grade::Fail, what, failure.to_string())
}

async fn camera(config: &Config, clock: &SharedClock) -> Line {
    let look = async {
        let mut source = source::open(&config.source, clock).await?;
        let mut parameters = None;
        loop {
            match source.next().await? {
                SourceEvent::Parameters(found) => parameters = Some(found),
                SourceEvent::AccessUnit(_) => return Ok::<_, source::SourceError>(parameters),
                SourceEvent::Loss { .. } => {}
            }
        }
    };
    match timeout(FIRST_PICTURE, look).await {
        Ok(Ok(Some(found))) => {
            let size = format!("{} × {}", found.width(), found.height());
            Line::new(
                Grade::Ok,
                "camera",
                format!("pictures arrive: {}, {size}", found.rfc6381()),
            )
        }
        Ok(Ok(None)) => Line::new(
            Grade::Warn,
            "camera",
            "pictures arrive without a description; see whether `run` records",
        ),
        Ok(Err(error)) => Line::new(Grade::Fail, "camera", error.to_string()),
        Err(_) => {
            let text = format!(
                "no picture within {} s; check that the camera sends H.264 or H.265 and is not at its limit of viewers",
                FIRST_PICTURE.as_secs()
            );
            Line::new(Grade::Fail, "camera", text)
        }
    }
}

fn disk(config: &Config, folder: &Folder, now: UtcMicros) -> Line {
    let free = match sys::free_bytes(folder.root()) {
        Ok(free) => free,
        Err(error) => {
            let failure = Failure::new(
                format!("folder {}", folder.root().display()),
                "look at its disk",
                error,
                "check that it exists and is mounted",
            );
            return failed("disk", &failure);
        }
    };
    let survey = match keeper::survey(folder, SystemTime::now(), None) {
        Ok(survey) => survey,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => {
            return Line::new(
                Grade::Fail,
                "disk",
                format!("the recordings cannot be listed ({error}); check the disk"),
            );
        }
    };
    let forecast = forecast(now, free, survey.bytes_per_day, &survey.releases, KEPT_DAYS);
    disk_line(config, free, survey.bytes_per_day, forecast, now)
}

fn disk_line(config: &Config, free: u64, per_day: u64, forecast: Forecast, now: UtcMicros) -> Line {
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let free_text = gigabytes(free);
    if free < config.disk.reserve_bytes {
        let text = format!(
            "{free_text} free, less than the reserve: recording pauses until space returns; free some or use a larger disk"
        );
        return Line::new(Grade::Fail, "disk", text);
    }
    match forecast {
        Forecast::Unknown => Line::new(
            Grade::Ok,
            "disk",
            format!("{free_text} free; too little was recorded yet to foresee when it fills"),
        ),
        Forecast::Fits => Line::new(
            Grade::Ok,
            "disk",
            format!("{free_text} free, {} a day: the promised days fit", gigabytes(per_day)),
        ),
        Forecast::FullAt(at) => {
            let text = format!(
                "{free_text} free, {} a day: full on {}, in {} days, before the promised days are kept; use a larger disk or decide on another policy. Nothing is deleted early",
                gigabytes(per_day),
                &at.to_string()[..10],
                forecast.days_left(now),
            );
            let soon = forecast.days_left(now) <= config.disk.warn_days;
            Line::new(if soon { Grade::Fail } else { Grade::Warn }, "disk", text)
        }
    }
}

fn certificate(identity: &Identity, now: UtcMicros) -> Line {
    let life = identity.credentials.life();
    let date = life.until.to_string();
    if life.until <= now {
        Line::new(
            Grade::Fail,
            "certificate",
            format!("expired on {date}; join again with a new token, what is recorded stays"),
        )
    } else if life.from > now {
        Line::new(
            Grade::Fail,
            "certificate",
            format!("not valid before {}; set this machine's clock", life.from),
        )
    } else if life.until.since(now) < 5 * DAY_US {
        Line::new(
            Grade::Warn,
            "certificate",
            format!("valid until {date} and not renewed: check that the server can be reached"),
        )
    } else {
        Line::new(
            Grade::Ok,
            "certificate",
            format!("valid until {date}, renewed by itself from {}", life.renew_at()),
        )
    }
}

fn keys(identity: &Identity, folder: &Folder, now: UtcMicros) -> Line {
    let shelf = KeyShelf::open(&folder.keys(), identity.server_command, identity.site, identity.camera);
    let days = shelf.days_ahead(now);
    match (days, shelf.has_reserve(now)) {
        (0, false) => Line::new(
            Grade::Fail,
            "keys",
            "none for today: recording waits; check the link to the server, which sends them",
        ),
        (0, true) => Line::new(
            Grade::Warn,
            "keys",
            "the reserve key alone: recording works; check the link to the server, which sends day keys",
        ),
        (days, _) if days < FEW_DAYS => Line::new(
            Grade::Warn,
            "keys",
            format!("for {days} days ahead; check the link to the server, which sends 45"),
        ),
        (days, _) => Line::new(Grade::Ok, "keys", format!("for {days} days ahead")),
    }
}

/// The server's line, and by how much this clock is ahead of the server's.
async fn server(identity: &Identity, clock: &SharedClock) -> (Line, Option<i64>) {
    let endpoint = match Endpoint::parse(&identity.agents_url, identity.credentials.tls()) {
        Ok(endpoint) => endpoint,
        Err(error) => return (Line::new(Grade::Fail, "server", format!("{error}; join again")), None),
    };
    match link::server_time(&endpoint).await {
        Ok(theirs) => {
            let line = Line::new(
                Grade::Ok,
                "server",
                format!("{endpoint} answers and knows this certificate"),
            );
            (line, Some(clock.now().since(theirs)))
        }
        Err(error) => {
            let text = format!(
                "{endpoint} cannot be reached ({error}); check the address, the network and the server. Recording works without it"
            );
            (Line::new(Grade::Warn, "server", text), None)
        }
    }
}

fn clock_line(ahead_us: Option<i64>, synchronised: bool) -> Line {
    let remedy = "set up a time service, such as systemd-timesyncd or chrony";
    match ahead_us {
        Some(ahead) if ahead.abs() > CLOCK_WRONG_US => {
            let text = format!(
                "{} s off the server's; {remedy}, and check the server's clock",
                ahead / 1_000_000
            );
            Line::new(Grade::Fail, "clock", text)
        }
        Some(ahead) if ahead.abs() > CLOCK_INEXACT_US => Line::new(
            Grade::Warn,
            "clock",
            format!("{:.1} s off the server's; {remedy}", ahead as f64 / 1e6),
        ),
        _ if !synchronised => Line::new(
            Grade::Warn,
            "clock",
            format!("no time service keeps it right; {remedy}"),
        ),
        Some(_) => Line::new(Grade::Ok, "clock", "synchronised, and the same as the server's"),
        None => Line::new(Grade::Ok, "clock", "synchronised; the server's is not known"),
    }
}

/// A TLS connection and no MQTT: a second client of the same name would end the running agent's connection.
async fn broker(identity: &Identity) -> Line {
    let (host, port) = (&identity.mqtt.host, identity.mqtt.port);
    match Endpoint::new(host, port, identity.credentials.tls()).handshake().await {
        Ok(_) => Line::new(Grade::Ok, "broker", format!("{host}:{port} answers over TLS")),
        Err(error) => {
            let text = format!(
                "{host}:{port} cannot be reached ({error}); check the address, the firewall and the server. Recording works without it"
            );
            Line::new(Grade::Warn, "broker", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        const S: i64 = 1_000_000;
        for (name, ahead, synchronised, wanted) in [
            ("right", Some(0), true, Grade::Ok),
            ("right by luck", Some(S), false, Grade::Warn),
            ("three seconds behind", Some(-3 * S), true, Grade::Warn),
            ("an hour ahead", Some(3600 * S), true, Grade::Fail),
            ("a day behind", Some(-86_400 * S), false, Grade::Fail),
            ("server away", None, true, Grade::Ok),
            ("server away, no service", None, false, Grade::Warn),
        ] {
            let line = clock_line(ahead, synchronised);
            assert_eq!(line.grade(), wanted, "{name}: {line}");
            assert!(
                wanted == Grade::Ok || line.to_string().contains("time service"),
                "{name}: {line}"
            );
        }
    }

    #[test]
    fn disks() {
        let text = "data_dir = \"/d\"\n[source]\nkind = \"test-picture\"\n";
        let config = Config::parse(text, "test").expect("settings");
        let now = UtcMicros::new(0);
        let in_days = |days: i64| Forecast::FullAt(UtcMicros::new(days * DAY_US));
        for (name, free, forecast, wanted) in [
            ("new", 1 << 40, Forecast::Unknown, Grade::Ok),
            ("roomy", 1 << 40, Forecast::Fits, Grade::Ok),
            ("too small, in three weeks", 1 << 38, in_days(21), Grade::Warn),
            ("too small, in three days", 1 << 36, in_days(3), Grade::Fail),
            ("full", 1 << 20, in_days(0), Grade::Fail),
        ] {
            let line = disk_line(&config, free, 1 << 35, forecast, now);
            assert_eq!(line.grade(), wanted, "{name}: {line}");
        }
    }
}
