//! The few fields of FFmpeg's structures that its bindings have no safe way to read.
#![allow(unsafe_code)]

use ffmpeg_next as ffmpeg;

/// Codec configuration and picture size of a stream.
pub(crate) struct StreamFacts {
    pub(crate) extradata: Vec<u8>,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Reads them; sizes beyond 65 535 become zero, which is refused later.
pub(crate) fn stream_facts(parameters: &ffmpeg::codec::Parameters) -> StreamFacts {
    // SAFETY: the pointer is valid as long as `parameters`, and nothing else writes to it while it is borrowed;
    // `extradata` points to `extradata_size` bytes or is null.
    unsafe {
        let raw = &*parameters.as_ptr();
        facts(raw.extradata, raw.extradata_size, raw.width, raw.height)
    }
}

/// The same of an opened encoder.
pub(crate) fn encoder_facts(encoder: &ffmpeg::encoder::video::Encoder) -> StreamFacts {
    // SAFETY: as above; the encoder owns its context.
    unsafe {
        let raw = &*encoder.as_ptr();
        facts(raw.extradata, raw.extradata_size, raw.width, raw.height)
    }
}

/// # Safety
/// `data` must point to `size` readable bytes or be null.
unsafe fn facts(data: *const u8, size: i32, width: i32, height: i32) -> StreamFacts {
    let extradata = match usize::try_from(size) {
        // SAFETY: the caller's promise.
        Ok(size) if size > 0 && !data.is_null() => unsafe { std::slice::from_raw_parts(data, size) }.to_vec(),
        _ => Vec::new(),
    };
    StreamFacts {
        extradata,
        width: u16::try_from(width).unwrap_or(0),
        height: u16::try_from(height).unwrap_or(0),
    }
}
