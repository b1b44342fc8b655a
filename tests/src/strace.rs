//! What a process writes, seen by the kernel: every write to a file with its bytes, every shared mapping that could hide one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// What strace is to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Every write with its bytes.
    Writes,
    /// Calls that wait for the disk.
    Syncs,
}

/// Wraps `command` so that strace follows it and all its children into `trace`.
pub fn wrap(command: &Command, trace: &Path, watch: Watch) -> Command {
    let calls = match watch {
        Watch::Writes => "trace=write,pwrite64,writev,pwritev,pwritev2,sendfile,splice,copy_file_range,mmap",
        Watch::Syncs => "trace=fsync,fdatasync,sync_file_range,syncfs,msync",
    };
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "4194304", "-e", calls]);
    strace
        .args(["-e", "signal=none", "-o"])
        .arg(trace)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    if let Some(folder) = command.get_current_dir() {
        strace.current_dir(folder);
    }
    strace
}

/// What was written to one path.
#[derive(Debug, Default)]
pub struct Written {
    /// Bytes in all.
    pub bytes: u64,
    /// The data, in the order it was written.
    pub data: Vec<u8>,
    /// Mapped shared and writable, or filled by the kernel from another descriptor: its content was not seen.
    pub unseen: bool,
}

/// Reads a trace: the files (no sockets, pipes, devices) that were written, with what was written to them.
pub fn files_written(trace: &Path) -> Result<BTreeMap<String, Written>> {
    let mut reader = BufReader::new(std::fs::File::open(trace).context("strace left no trace")?);
    let mut files: BTreeMap<String, Written> = BTreeMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if let Some((path, written)) = parse(line.trim_end()) {
            let file = files.entry(path).or_default();
            file.bytes += written.bytes;
            file.unseen |= written.unseen;
            file.data.extend(written.data);
        }
        line.clear();
    }
    Ok(files)
}

fn parse(line: &str) -> Option<(String, Written)> {
    let call_at = line.find(|c: char| c.is_ascii_alphabetic())?;
    let (call, arguments) = line[call_at..].split_once('(')?;
    match call {
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => {
            let path = file_of(arguments)?;
            let data = quoted(arguments).concat();
            Some((
                path,
                Written {
                    bytes: data.len() as u64,
                    data,
                    unseen: false,
                },
            ))
        }
        "mmap" => {
            if !arguments.contains("MAP_SHARED") || !arguments.contains("PROT_WRITE") {
                return None;
            }
            let path = file_of(arguments.split_once("MAP_SHARED")?.1)?;
            Some((
                path,
                Written {
                    unseen: true,
                    ..Written::default()
                },
            ))
        }
        "sendfile" => Some((
            file_of(arguments)?,
            Written {
                unseen: true,
                ..Written::default()
            },
        )),
        // The second descriptor is the one written to.
        "splice" | "copy_file_range" => {
            let after = arguments.split_once('>')?.1;
            Some((
                file_of(after)?,
                Written {
                    unseen: true,
                    ..Written::default()
                },
            ))
        }
        _ => None,
    }
}

/// The path that `-y` prints behind the first descriptor, where it is a file on a disk.
fn file_of(arguments: &str) -> Option<String> {
    let start = arguments.find('<')? + 1;
    let end = start + arguments[start..].find('>')?;
    let path = String::from_utf8_lossy(&unescape(&arguments[start..end])).into_owned();
    let on_disk = path.starts_with('/')
        && !path.starts_with("/dev/")
        && !path.starts_with("/proc/")
        && !path.starts_with("/sys/");
    (on_disk || path.starts_with("/dev/shm/") || path.starts_with("/memfd")).then_some(path)
}

fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    // With -xx nothing inside the quotes needs escaping but by \x, so that every second piece is a string.
    arguments.split('"').skip(1).step_by(2).map(unescape).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 4);
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes[at] == b'\\' && bytes.get(at + 1) == Some(&b'x');
        match escaped
            .then(|| text.get(at + 2..at + 4).and_then(|h| u8::from_str_radix(h, 16).ok()))
            .flatten()
        {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_trace() {
        let check = |line: &str, expected: Option<(&str, &[u8], bool)>| {
            let parsed = parse(line).map(|(p, w)| (p, w.data, w.unseen));
            assert_eq!(
                parsed,
                expected.map(|(p, d, u)| (p.to_owned(), d.to_vec(), u)),
                "{line}"
            );
        };
        check(
            r#"12  write(7</tmp/a>, "\x41\x42", 2) = 2"#,
            Some(("/tmp/a", b"AB", false)),
        );
        check(
            r#"12  write(7<\x2f\x74\x6d\x70\x2f\x61>, "\x41", 1 <unfinished ...>"#,
            Some(("/tmp/a", b"A", false)),
        );
        check(
            r#"1 pwritev(3</d/x>, [{iov_base="\x01", iov_len=1}, {iov_base="\x02", iov_len=1}], 2, 0) = 2"#,
            Some(("/d/x", &[1, 2], false)),
        );
        check(r#"1 write(4<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x01", 1) = 1"#, None);
        check(r#"1 write(1<pipe:[12]>, "\x01", 1) = 1"#, None);
        check(r#"1 write(1</dev/null>, "\x01", 1) = 1"#, None);
        check(
            r#"1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5</d/m>, 0) = 0x7f"#,
            Some(("/d/m", b"", true)),
        );
        check(
            r#"1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE, 5</d/m>, 0) = 0x7f"#,
            None,
        );
        check(
            r#"1 copy_file_range(3</d/a>, NULL, 4</d/b>, NULL, 5, 0) = 5"#,
            Some(("/d/b", b"", true)),
        );
    }
}
