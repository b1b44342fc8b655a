//! Elementary streams for the cameras, made once with FFmpeg and kept in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::binaries;
use crate::process::run;

/// The two codecs that cameras speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    H265,
}

impl Codec {
    /// The file extension and the name the camera server uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
        }
    }
}

/// What is filmed.
#[derive(Clone, Debug)]
pub enum Scene {
    /// FFmpeg's moving test picture.
    Pattern,
    /// A film of real people, where one lies on this machine.
    Film(PathBuf),
}

/// A camera-like stream: closed GOPs, access unit delimiters, parameter sets repeated at each keyframe, no B-frames.
#[derive(Clone, Debug)]
pub struct Footage {
    /// Codec of the stream.
    pub codec: Codec,
    /// What is filmed.
    pub scene: Scene,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Length of the loop in seconds.
    pub seconds: u32,
    /// Frames from keyframe to keyframe.
    pub gop: u32,
    /// Bit rate in kbit/s.
    pub kbits: u32,
}

impl Footage {
    /// A small, quick stream for tests: 640×360, 10 frames a second, a keyframe each second, a loop of 20 s.
    pub fn small(codec: Codec) -> Self {
        let scene = Scene::Pattern;
        Self {
            codec,
            scene,
            width: 640,
            height: 360,
            fps: 10,
            seconds: 20,
            gop: 10,
            kbits: 400,
        }
    }

    /// What a camera of a clinic sends: 1080p25 at 3 Mbit/s, a keyframe every 2 s; real people where a film of them is here.
    pub fn camera(codec: Codec) -> Self {
        let scene = film().map_or(Scene::Pattern, Scene::Film);
        let (width, height) = if codec == Codec::H264 {
            (1920, 1080)
        } else {
            (1280, 720)
        };
        Self {
            codec,
            scene,
            width,
            height,
            fps: 25,
            seconds: 60,
            gop: 50,
            kbits: 3000,
        }
    }

    /// The stream's file, made on first use.
    pub fn make(&self) -> Result<PathBuf> {
        let folder = binaries::target().join("footage");
        fs::create_dir_all(&folder)?;
        let path = folder.join(self.file_name());
        if path.exists() {
            return Ok(path);
        }
        // Written under another name first: two tests may make the same footage, and a half-made one must not be used.
        let draft = folder.join(format!("{}.{}", std::process::id(), self.file_name()));
        run(&mut self.command(&draft)).context("footage could not be made; deploy/install-deps installs ffmpeg")?;
        fs::rename(&draft, &path)?;
        Ok(path)
    }

    fn file_name(&self) -> String {
        let scene = if matches!(self.scene, Scene::Pattern) {
            "pattern"
        } else {
            "film"
        };
        let Self {
            width,
            height,
            fps,
            seconds,
            gop,
            kbits,
            ..
        } = self;
        format!(
            "{scene}-{width}x{height}-{fps}fps-{seconds}s-gop{gop}-{kbits}k.{}",
            self.codec.name()
        )
    }

    fn command(&self, out: &Path) -> Command {
        let Self {
            width,
            height,
            fps,
            seconds,
            gop,
            kbits,
            ..
        } = self;
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y"]);
        match &self.scene {
            Scene::Pattern => ffmpeg.args([
                "-f",
                "lavfi",
                "-i",
                &format!("testsrc2=size={width}x{height}:rate={fps}"),
            ]),
            Scene::Film(path) => ffmpeg.arg("-i").arg(path),
        };
        let filter = format!("scale={width}:{height},fps={fps},noise=alls=5:allf=t,format=yuv420p");
        ffmpeg.args(["-t", &seconds.to_string(), "-an", "-vf", &filter]);
        let rate = format!("{kbits}k");
        ffmpeg.args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate, "-threads", "2"]);
        let common = format!("aud=1:repeat-headers=1:open-gop=0:bframes=0:scenecut=0:keyint={gop}:min-keyint={gop}");
        match self.codec {
            Codec::H264 => ffmpeg.args([
                "-c:v",
                "libx264",
                "-preset",
                "superfast",
                "-x264-params",
                &common,
                "-f",
                "h264",
            ]),
            Codec::H265 => ffmpeg.args([
                "-c:v",
                "libx265",
                "-preset",
                "ultrafast",
                "-x265-params",
                &format!("log-level=error:{common}"),
                "-f",
                "hevc",
            ]),
        };
        ffmpeg.arg(out);
        ffmpeg
    }
}

/// The film of real people that lies beside some checkouts; it is not part of the project.
fn film() -> Option<PathBuf> {
    let beside = binaries::root().join("../shared/footage");
    let folder = std::env::var_os("CUSTODY_FOOTAGE").map_or(beside, PathBuf::from);
    let path = folder.join("people-one-by-one.mp4");
    path.exists().then_some(path)
}
