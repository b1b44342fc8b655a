//! A running child, and what it is fed with.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use custody_shared::capture::{
    ACCESS_UNIT_HEAD, Ending, FrameKind, HEAD, Input, Job, Picture, access_unit_pts, parse_head,
};
use custody_shared::fmp4::VideoParameters;

pub const PICTURE: Picture = Picture {
    width: 320,
    height: 180,
    rate: 10,
    kbit_s: 300,
};

/// A presentation time in ticks and an access unit.
pub type Timed = (Option<i64>, Vec<u8>);

pub struct Running {
    child: Child,
    stdout: ChildStdout,
}

impl Running {
    pub fn start(input: Input) -> Self {
        let job = Job {
            input,
            connect_s: 2,
            stall_s: 1,
        };
        Self::start_with(&job.to_bytes().expect("a job"))
    }

    pub fn start_with(job: &[u8]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_custody-capture"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let stdin = child.stdin.as_mut().expect("a pipe");
        stdin
            .write_all(&u32::try_from(job.len()).expect("short").to_be_bytes())
            .expect("written");
        stdin.write_all(job).expect("written");
        let stdout = child.stdout.take().expect("a pipe");
        Self { child, stdout }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        let mut head = [0; HEAD];
        self.stdout.read_exact(&mut head).ok()?;
        let (kind, length) = parse_head(head).expect("the child keeps to the protocol");
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// Reads until `count` pictures have come or the pipe closes.
    pub fn pictures(&mut self, count: usize) -> (VideoParameters, Vec<Timed>) {
        let mut parameters = None;
        let mut pictures = Vec::new();
        while pictures.len() < count {
            match self.frame() {
                Some((FrameKind::Parameters, body)) => {
                    assert!(parameters.is_none(), "parameters came twice");
                    parameters = Some(VideoParameters::from_sample_entry(&body).expect("a sample entry"));
                }
                Some((FrameKind::AccessUnit, body)) => {
                    pictures.push((access_unit_pts(&body), body[ACCESS_UNIT_HEAD..].to_vec()));
                }
                Some((FrameKind::Loss | FrameKind::Unfenced, _)) => {}
                None => break,
            }
        }
        (parameters.expect("parameters before pictures"), pictures)
    }

    /// Reads on until the pipe closes.
    pub fn pictures_until_the_end(&mut self) {
        while self.frame().is_some() {}
    }

    /// Closes the pipe and waits; the ending, the words and how long it took.
    pub fn end(mut self, close: bool) -> (Option<Ending>, String) {
        if close {
            drop(self.child.stdin.take());
        }
        drop(self.stdout);
        let mut words = String::new();
        self.child
            .stderr
            .take()
            .expect("a pipe")
            .read_to_string(&mut words)
            .expect("text");
        let status = self.child.wait().expect("it ends");
        (status.code().and_then(Ending::from_code), words)
    }
}

pub fn ffmpeg(arguments: &[&str], output: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(output)
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ffmpeg makes the test's video"
    );
}

/// Serves one HTTP client: a status line, then `pictures` JPEGs, then silence.
pub fn motion_jpeg(status: &'static str, pictures: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("picture.jpg");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=s=320x180", "-frames:v", "1"], &path);
    let jpeg = std::fs::read(&path).expect("a picture");
    std::thread::spawn(move || {
        let Ok((mut client, _)) = listener.accept() else { return };
        let mut request = [0; 4096];
        let _ = client.read(&mut request);
        if status.is_empty() {
            std::thread::sleep(Duration::from_secs(30));
            return;
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n");
        let _ = client.write_all(head.as_bytes());
        for _ in 0..pictures {
            let part = format!(
                "--b\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                jpeg.len()
            );
            let _ = client.write_all(&[part.as_bytes(), &jpeg, b"\r\n"].concat());
            std::thread::sleep(Duration::from_millis(100));
        }
        if pictures > 0 {
            std::thread::sleep(Duration::from_secs(30));
        }
    });
    format!("http://u:s3cret@{address}/video")
}
