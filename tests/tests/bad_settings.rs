//! Settings that are wrong: both programs refuse to start, say where and what to do, and repeat no password.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use custody_tests::agent::Source;
use custody_tests::site::Site;

fn refused(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        output.status.code().is_some_and(|c| c != 0 && c != 101),
        "ended with {}:\n{said}",
        output.status
    );
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_settings_are_refused_with_their_place() -> Result<()> {
    let mut site = Site::start("bad-settings").await?;
    site.enrol_camera("Gate", Source::test_picture("Gate"))?;
    let agent = site.agents[0].config_file().to_owned();
    let server = site.data().join("custody.toml");
    site.stop_server().await?;

    let (good_agent, good_server) = (std::fs::read_to_string(&agent)?, std::fs::read_to_string(&server)?);
    let password = "hunter2-and-more";
    let cases = [
        ("unknown key", "\nsurprise = 1\n".to_owned(), "surprise"),
        ("no value", "\n[extra]\nkey =\n".to_owned(), "line"),
        ("half a table", "\n[extra\n".to_owned(), "line"),
        (
            "a password in a broken line",
            format!("\npassword = \"{password}\" oops\n"),
            "line",
        ),
    ];
    for (name, addition, wanted) in &cases {
        std::fs::write(&agent, format!("{good_agent}{addition}"))?;
        let said = refused(site.command("custody-agent")?.arg("run").arg("--config").arg(&agent))?;
        ensure!(
            said.contains("cannot ") && said.contains(&*agent.to_string_lossy()) && said.contains("; "),
            "{name}: {said}"
        );
        ensure!(said.contains(wanted), "{name}: {said}");
        ensure!(!said.contains(password), "{name}: repeats a password: {said}");

        std::fs::write(&server, format!("{good_server}{addition}"))?;
        let said = refused(
            site.command("custody-server")?
                .arg("run")
                .arg("--data")
                .arg(site.data()),
        )?;
        let placed = said.contains("custody.toml") && said.contains("cannot ") && said.contains("; ");
        ensure!(placed && said.contains(wanted), "{name}: {said}");
    }
    std::fs::write(&agent, [0xff, 0xfe, 0x00])?;
    refused(site.command("custody-agent")?.arg("run").arg("--config").arg(&agent)).context("not text")?;
    std::fs::remove_file(&agent)?;
    let said = refused(site.command("custody-agent")?.arg("run").arg("--config").arg(&agent))?;
    ensure!(said.contains("check the path"), "{said}");
    std::fs::write(&server, good_server)?;
    site.close().await
}
