//! A password from a person: typed unseen, piped in, or generated. Never from the command line, which everybody on the machine can read.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::args::PersonAdd;

/// Words of a generated password come from this alphabet, without letters that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The password that `add` asks for.
pub(super) fn take(add: &PersonAdd) -> Result<Zeroizing<String>> {
    if add.generate {
        return generate();
    }
    if add.password_stdin || !io::stdin().is_terminal() {
        let line = line()?;
        if line.is_empty() {
            bail!("standard input holds none; pipe one line, or use --generate");
        }
        return Ok(line);
    }
    let first = unseen(&format!("Password for {}: ", add.name))?;
    let second = unseen("Again: ")?;
    if *first != *second {
        bail!("the two differ; nothing was added");
    }
    Ok(first)
}

/// Four groups of five: 100 bits.
fn generate() -> Result<Zeroizing<String>> {
    let mut random = Zeroizing::new([0_u8; 20]);
    getrandom::fill(&mut *random).map_err(|error| anyhow::anyhow!("the system's random source failed: {error}"))?;
    let mut out = Zeroizing::new(String::with_capacity(23));
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            out.push('-');
        }
        out.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(out)
}

fn line() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin()
        .read_line(&mut line)
        .context("standard input cannot be read")?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn unseen(prompt: &str) -> Result<Zeroizing<String>> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let terminal = io::stdin();
    let before = tcgetattr(&terminal).context("the terminal cannot be asked")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).context("the terminal cannot be silenced")?;
    let typed = line();
    tcsetattr(&terminal, OptionalActions::Now, &before).context("the terminal cannot be restored")?;
    eprintln!();
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.len(), 23);
        assert_ne!(*one, *other);
    }
}
