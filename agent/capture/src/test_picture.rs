//! A picture made up, for trials without a camera: the wall clock, figures that walk, the camera's name.

use std::time::{Duration, Instant};

use custody_shared::capture::Picture;
use custody_shared::time::{Clock, SystemClock};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::frame::video::Video;

use crate::encoder::Encoder;
use crate::failure::Failure;
use crate::output::Output;
use crate::picture::{BLACK, Colour, WHITE, rectangle, text};

const WALL: Colour = Colour(150, 124, 130);
const FLOOR: Colour = Colour(90, 120, 134);
const DOOR: Colour = Colour(110, 110, 140);
const SKIN: Colour = Colour(170, 110, 150);
const COATS: [Colour; 3] = [Colour(80, 170, 110), Colour(120, 100, 180), Colour(190, 90, 120)];

/// Draws and encodes until the recorder ends.
pub(crate) fn run(name: &str, picture: Picture, output: &mut Output) -> Result<(), Failure> {
    let picture = Picture {
        width: picture.width.clamp(160, 3840) & !1,
        height: picture.height.clamp(120, 2160) & !1,
        rate: picture.rate.clamp(1, 60),
        kbit_s: picture.kbit_s.clamp(50, 50_000),
    };
    let mut encoder = Encoder::open(picture)?;
    output.connected();
    let room = room(picture);
    let start = Instant::now();
    for index in 0u64.. {
        let due = Duration::from_micros(index * 1_000_000 / u64::from(picture.rate));
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let mut frame = room.clone();
        draw(&mut frame, name, index, picture);
        let pts = i64::try_from(index * 90_000 / u64::from(picture.rate)).unwrap_or(i64::MAX);
        encoder.encode(&mut frame, pts, output)?;
    }
    Ok(())
}

/// What never changes.
fn room(picture: Picture) -> Video {
    let (width, height) = (usize::from(picture.width), usize::from(picture.height));
    let mut frame = Video::new(Pixel::YUV420P, picture.width.into(), picture.height.into());
    rectangle(&mut frame, 0, 0, width, height, WALL);
    rectangle(&mut frame, 0, height * 2 / 3, width, height, FLOOR);
    for door in 0..3 {
        rectangle(
            &mut frame,
            width * (2 * door + 1) / 7,
            height * 3 / 10,
            width / 9,
            height * 11 / 30,
            DOOR,
        );
    }
    frame
}

fn draw(frame: &mut Video, name: &str, index: u64, picture: Picture) {
    let (width, height) = (usize::from(picture.width), usize::from(picture.height));
    for (person, coat) in COATS.into_iter().enumerate() {
        // Each crosses the room at another pace and pauses outside it.
        let seconds = index as f64 / f64::from(picture.rate) + person as f64 * 4.0;
        let across = (seconds / (9.0 + 3.0 * person as f64)).fract() * 1.5 - 0.25;
        let x = (across * width as f64).max(-(width as f64));
        let (body, tall) = (width / 16, height / 3);
        let Ok(x) = usize::try_from(x as i64) else { continue };
        let y = height / 2 + person * height / 16;
        rectangle(frame, x, y, body, tall, coat);
        rectangle(
            frame,
            x + body / 4,
            y.saturating_sub(body / 2),
            body / 2,
            body / 2,
            SKIN,
        );
        let stride = if (index / 3).is_multiple_of(2) { 0 } else { body / 3 };
        rectangle(frame, x + stride, (y + tall).min(height), body / 2, height / 24, BLACK);
    }
    let scale = (width / 320).max(1);
    let line = 10 * scale;
    // 2026-11-22T18:00:32.837822Z, to the tenth of a second.
    let clock = SystemClock.now().to_string();
    let clock = clock.replace('T', " ");
    let tenth = format!("{:.21} UTC", clock.trim_end_matches('Z'));
    rectangle(frame, 0, 0, width, line + 2 * scale, BLACK);
    text(frame, 2 * scale, 2 * scale, scale, &tenth, WHITE);
    rectangle(frame, 0, height - line, width, line, BLACK);
    text(frame, 2 * scale, height - line + scale, scale, name, WHITE);
}
