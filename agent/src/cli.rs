//! The command line, and what `--help` teaches about it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Records one camera, sealed, to this machine's own disk.
#[derive(Debug, Parser)]
#[command(
    name = "custody-agent",
    version,
    about = "Records one camera, sealed, to this machine's own disk.",
    long_about = "Records one camera, sealed, to this machine's own disk.\n\n\
        Every segment is encrypted to a key whose private half this machine never has: what is recorded here cannot be \
        opened here. Signed statements about each segment and each gap go to the Custody server over MQTT. Recording goes \
        on without the server for as long as the disk lasts; nothing is deleted before its time, and everything is at it.\n\n\
        The usual way:\n  \
        1. custody-agent join --server https://HOST:PORT --token ID.SECRET --ca-pin sha256:HEX --data DIR\n  \
        2. write agent.toml (see deploy/agent.toml for every setting)\n  \
        3. custody-agent check --config agent.toml\n  \
        4. custody-agent run --config agent.toml",
    after_help = "Logs go to standard error; CUSTODY_LOG=debug shows more. They never carry passwords, keys or pictures."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enrol this machine as one camera: make its keys and fetch its certificate.
    #[command(
        long_about = "Enrols this machine as one camera.\n\n\
            Makes three keys that never leave this machine (TLS, statements, witness), checks that the server holds the \
            certificate authority you were told the SHA-256 of, and has the certificate signed. The token works once per \
            camera and expires; `custody-server camera token` makes a new one and prints this whole command line.\n\n\
            Nothing is written unless everything worked.",
        after_help = "Example:\n  custody-agent join --server https://custody.clinic.lan:8443 \\\n    \
            --token 3f6c0e….9b21d4… --ca-pin sha256:5d0c… --data /var/lib/custody-agent/gate-2\n\n\
            Exit codes: 0 enrolled, 1 failed (the message says at which step and what to do)."
    )]
    Join(Join),
    /// Record until stopped.
    #[command(
        long_about = "Records until stopped.\n\n\
            SIGTERM and SIGINT end it cleanly: the segment being written is finished and stated, the log is flushed. After a \
            crash or a power cut the next start finishes what was left, states it as truncated and states the gap with its cause.\n\n\
            Everything that can be wrong with the camera, the disk, the clock or the server shows as a signed gap and in the log, \
            and recording resumes by itself.",
        after_help = "Example:\n  custody-agent run --config /etc/custody/gate-2.toml\n\n\
            Exit codes: 0 stopped cleanly or asked to restart, 1 could not start."
    )]
    Run(Configured),
    /// Look at everything recording depends on, and say what to do about what is wrong.
    #[command(
        long_about = "Looks at everything recording depends on: the folder, the camera and its codec, the clock, the disk and when it \
            fills, the server, the broker, the certificate and the supply of keys. One line each: OK, WARN or FAIL, with the remedy.\n\n\
            It may be run beside a running agent; it writes nothing and takes nobody's place.",
        after_help = "Example:\n  custody-agent check --config /etc/custody/gate-2.toml\n\n\
            Exit codes: 0 all OK, 1 at least one WARN, 2 at least one FAIL."
    )]
    Check(Configured),
}

/// Where to enrol, and with what.
#[derive(Debug, Args)]
pub struct Join {
    /// The server's address for agents.
    #[arg(long, value_name = "https://HOST:PORT")]
    pub server: String,
    /// The token, as `ID.SECRET`; works once and expires. `-` reads it from standard input, out of sight of other users.
    #[arg(long, value_name = "ID.SECRET")]
    pub token: String,
    /// SHA-256 of the certificate authority, as the server printed it: who is on the other end is checked against it.
    #[arg(long, value_name = "sha256:HEX")]
    pub ca_pin: String,
    /// Folder for keys, sealed segments and statements; made if missing. One folder per camera.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Which camera of the token this is, where the token names several.
    #[arg(long, value_name = "NAME")]
    pub slot: Option<String>,
}

/// A command that works from the configuration.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration; deploy/agent.toml explains every setting.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_teaches() {
        Cli::command().debug_assert();
        for subcommand in Cli::command().get_subcommands_mut() {
            let help = subcommand.render_long_help().to_string();
            assert!(help.contains("Example:") && help.contains("Exit codes:"), "{help}");
        }
    }
}
