//! RTSP cameras made by GStreamer, where it is installed, and the streams they send.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The name and password of a guarded server.
pub const LOGIN: (&str, &str) = ("operator", "lens-7-key");

/// Whether cameras can be made here; says why not, once for each test.
pub fn available() -> bool {
    let bindings = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer";
    let succeeds = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let (cameras, ffmpeg) = (
        succeeds("/usr/bin/python3", &["-c", bindings]),
        succeeds("ffmpeg", &["-version"]),
    );
    if !cameras || !ffmpeg {
        eprintln!("skipped: needs GStreamer's RTSP server for Python and FFmpeg; deploy/install-deps installs them");
    }
    cameras && ffmpeg
}

/// A running server with one camera at `/gate`.
pub struct Cameras {
    process: Child,
    port: u16,
}

impl Cameras {
    /// A looped elementary stream at 25 pictures a second.
    pub fn looped(stream: &Path, more: &str, guarded: bool) -> Self {
        let path = stream.to_str().expect("a path");
        Self::start(
            &format!(r#""file": "{path}", "codec": "h264", "fps": 25{more}"#),
            guarded,
        )
    }

    /// A file played once, with its own times: B-frames and open groups as they are.
    pub fn played(video: &Path, codec: &str, after: &str) -> Self {
        let path = video.to_str().expect("a path");
        let chain =
            format!("filesrc location={path} ! qtdemux ! {codec}parse ! rtp{codec}pay pt=96 config-interval=-1");
        let name = if after.is_empty() { "name=pay0" } else { after };
        Self::start(&format!(r#""launch": "{chain} {name}""#), false)
    }

    fn start(camera: &str, guarded: bool) -> Self {
        let login = if guarded {
            format!(r#""user": "{}", "password": "{}", "#, LOGIN.0, LOGIN.1)
        } else {
            String::new()
        };
        // Two packages share this file, at different depths.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = here
            .ancestors()
            .map(|folder| folder.join("tests/cameras/rtsp_server.py"));
        let script = script
            .into_iter()
            .find(|path| path.is_file())
            .expect("the cameras' script");
        let mut process = Command::new("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python runs");
        let mut input = process.stdin.take().expect("a pipe");
        let spec = format!(r#"{{{login}"cameras": [{{"path": "gate", {camera}}}]}}"#);
        input.write_all(spec.as_bytes()).expect("written");
        drop(input);
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("a line");
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        let port = digits.parse().expect("the line with the port");
        Self { process, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/gate", self.port)
    }

    /// Connections stay open, nothing is sent any more.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Four seconds of moving picture encoded with these options.
pub fn film(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=320x180:r=25",
        "-t",
        "4",
    ]);
    let status = command.args(["-pix_fmt", "yuv420p"]).args(options).arg(&path).status();
    assert!(status.is_ok_and(|status| status.success()), "ffmpeg makes {name}");
    path
}

/// What the looped cameras send: closed groups of a second with access unit delimiters.
pub fn stream(folder: &Path) -> PathBuf {
    let parameters = "aud=1:repeat-headers=1:bframes=0:scenecut=0:keyint=25:min-keyint=25:open-gop=0";
    film(folder, "gate.h264", &["-c:v", "libx264", "-x264-params", parameters])
}

/// The checksums of all decoded pictures, in the order they are shown.
pub fn pictures(input: &Path) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(input)
        .args(["-an", "-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .output()
        .expect("ffmpeg runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit(',').next())
        .map(|sum| sum.trim().to_owned())
        .collect()
}
