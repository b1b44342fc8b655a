//! The command line, as `--help` teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Custody's server: takes in what cameras state, keeps the record of who may see what, and opens footage only after a
/// decision that stands in the ledger.
#[derive(Debug, Parser)]
#[command(
    name = "custody-server",
    version,
    propagate_version = true,
    after_long_help = "A site in six commands:\n\
    \n  custody-server init --data /var/lib/custody --name \"Clinic\" --host custody.clinic.lan\n\
    \x20 custody-server person add asker --grade asks --generate\n\
    \x20 custody-server person add decider --grade decides --generate\n\
    \x20 custody-server camera add \"Front door\" --location \"1F entry\" --class open\n\
    \x20 custody-server camera token \"Front door\"\n\
    \x20 custody-server run\n\
    \nThe other commands talk to a running server through DATA/control.sock, or open the data folder themselves when none runs."
)]
pub struct Cli {
    /// The data folder: settings, ledger, keys, statements, index, sealed cache.
    #[arg(long, global = true, default_value = "/var/lib/custody", value_name = "DIR")]
    pub data: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the data folder: settings, certificate authority, empty ledger, empty keyring.
    Init(Init),
    /// Run the server until SIGTERM or Ctrl-C.
    Run(Run),
    /// Add, list and enrol cameras.
    #[command(subcommand)]
    Camera(Camera),
    /// Add people.
    #[command(subcommand)]
    Person(Person),
    /// Look after the ledger.
    #[command(subcommand)]
    Ledger(Ledger),
    /// Recreate the index from the cameras' signed statements. Nothing is lost by it; it takes seconds to minutes.
    Rebuild,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// The site's name, shown on every page.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// IANA time zone of the place that is filmed; it never changes afterwards.
    #[arg(long, default_value = "Asia/Seoul", value_name = "ZONE")]
    pub time_zone: String,
    /// Name or address by which cameras reach this server; repeat for more. The first is what agents are told.
    #[arg(long = "host", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()], value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Where pages and the API listen. Plain HTTP is only for loopback; elsewhere the site's own CA serves TLS.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub web_listen: std::net::SocketAddr,
    /// Where agents join and upload.
    #[arg(long, default_value = "0.0.0.0:8443", value_name = "ADDRESS:PORT")]
    pub agents_listen: std::net::SocketAddr,
    /// Where agents publish.
    #[arg(long, default_value = "0.0.0.0:8883", value_name = "ADDRESS:PORT")]
    pub mqtt_listen: std::net::SocketAddr,
    /// Language of the pages where nobody says: ko or en.
    #[arg(long, default_value = "ko", value_name = "LANGUAGE")]
    pub language: String,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// Settings to use instead of DATA/custody.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `camera …`
#[derive(Debug, Subcommand)]
pub enum Camera {
    /// Enter a camera into the record. Its recorder joins with a token (`camera token`).
    Add(CameraAdd),
    /// List the cameras, tab-separated: id, name, location, class, enrolled or not.
    List,
    /// Issue a token with which recorders join: one slot for each named camera, each usable once, for 8 hours.
    Token(CameraToken),
}

/// `camera add`
#[derive(Debug, Args)]
pub struct CameraAdd {
    /// Its name, as people call it.
    pub name: String,
    /// Where it hangs.
    #[arg(long, value_name = "TEXT")]
    pub location: String,
    /// What kind of place it films. Private places need consent sessions, prohibited ones are never filmed: both are refused.
    #[arg(long, value_enum, default_value = "open")]
    pub class: PlaceClass,
    /// What it films for.
    #[arg(
        long,
        default_value = "Crime prevention, safety of the building",
        value_name = "TEXT"
    )]
    pub purpose: String,
    /// The legal ground it films on.
    #[arg(long, default_value = "PIPA 25(1)", value_name = "TEXT")]
    pub legal_ground: String,
}

/// What kind of place a camera films.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PlaceClass {
    /// Corridor, entry.
    Open,
    /// Waiting room.
    Waiting,
    /// Consultation room.
    Private,
    /// Toilet, changing room, operating room.
    Prohibited,
}

/// `camera token`
#[derive(Debug, Args)]
pub struct CameraToken {
    /// Names or ids of cameras.
    #[arg(required = true, value_name = "CAMERA")]
    pub cameras: Vec<String>,
}

/// `person …`
#[derive(Debug, Subcommand)]
pub enum Person {
    /// Add an account. The password is asked for, read from standard input, or generated; never given on the command line.
    Add(PersonAdd),
}

/// `person add`
#[derive(Debug, Args)]
pub struct PersonAdd {
    /// The name typed at sign-in.
    pub name: String,
    /// The name shown; without it the same.
    #[arg(long, value_name = "TEXT")]
    pub display: Option<String>,
    /// What the account may do.
    #[arg(long, value_enum)]
    pub grade: GradeName,
    /// Generate a password and print it once.
    #[arg(long, conflicts_with = "password_stdin")]
    pub generate: bool,
    /// Read the password from standard input (one line) without asking.
    #[arg(long)]
    pub password_stdin: bool,
}

/// What an account may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum GradeName {
    /// Files requests, watches what was approved.
    Asks,
    /// Decides requests of others; may ask as well.
    Decides,
    /// Cameras and health; sees neither requests nor footage.
    Administers,
}

/// `ledger …`
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Check every leaf, body and tile against the signed checkpoint; names each damaged one and then exits with 1.
    Verify,
}
