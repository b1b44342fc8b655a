//! Drawing on planar 4:2:0 pictures: rectangles and letters.

use ffmpeg_next::util::frame::video::Video;
use font8x8::legacy::{BASIC_LEGACY, LATIN_LEGACY};

/// Brightness and both colour differences.
#[derive(Clone, Copy)]
pub(crate) struct Colour(pub(crate) u8, pub(crate) u8, pub(crate) u8);

pub(crate) const BLACK: Colour = Colour(16, 128, 128);
pub(crate) const WHITE: Colour = Colour(235, 128, 128);

/// Fills a rectangle, cut at the picture's edges.
pub(crate) fn rectangle(frame: &mut Video, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
    for (plane, value) in [colour.0, colour.1, colour.2].into_iter().enumerate() {
        let halved = usize::from(plane > 0);
        let (stride, columns) = (frame.stride(plane), frame.plane_width(plane) as usize);
        let (left, right) = ((x >> halved).min(columns), ((x + width) >> halved).min(columns));
        let rows = frame.data_mut(plane).chunks_mut(stride.max(1));
        for row in rows.take((y + height) >> halved).skip(y >> halved) {
            if let Some(part) = row.get_mut(left..right) {
                part.fill(value);
            }
        }
    }
}

/// Writes a line of text; letters the font lacks become boxes.
pub(crate) fn text(frame: &mut Video, x: usize, y: usize, scale: usize, line: &str, colour: Colour) {
    for (index, letter) in line.chars().enumerate() {
        let glyph = glyph(letter);
        for (row, bits) in glyph.into_iter().enumerate() {
            for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                rectangle(
                    frame,
                    x + (index * 8 + column) * scale,
                    y + row * scale,
                    scale,
                    scale,
                    colour,
                );
            }
        }
    }
}

fn glyph(letter: char) -> [u8; 8] {
    let code = letter as usize;
    let found = BASIC_LEGACY
        .get(code)
        .or_else(|| LATIN_LEGACY.get(code.checked_sub(0xa0)?));
    found.copied().unwrap_or([0x7e, 0x42, 0x42, 0x42, 0x42, 0x42, 0x7e, 0])
}
