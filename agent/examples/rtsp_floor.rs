//! The floor of recording: reads one RTSP stream with retina and throws it away. What a recorder costs beyond this is its own.
//!
//! `rtsp_floor URL SECONDS`

#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use retina::client::{PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::{CodecItem, FrameFormat};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: rtsp_floor URL SECONDS")?.parse()?;
    let seconds: u64 = arguments.next().context("usage: rtsp_floor URL SECONDS")?.parse()?;

    let mut session = Session::describe(url, SessionOptions::default()).await?;
    let video = session
        .streams()
        .iter()
        .position(|s| s.media() == "video")
        .context("the camera offers no video")?;
    session
        .setup(video, SetupOptions::default().frame_format(FrameFormat::MP4))
        .await?;
    let mut playing = session.play(PlayOptions::default()).await?.demuxed()?;

    let (mut frames, mut bytes) = (0u64, 0u64);
    let read = async {
        while let Some(item) = playing.next().await {
            if let CodecItem::VideoFrame(frame) = item? {
                frames += 1;
                bytes += frame.data().len() as u64;
            }
        }
        anyhow::Ok(())
    };
    if let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), read).await {
        ended?;
    }
    println!("{frames} frames, {bytes} bytes");
    Ok(())
}
