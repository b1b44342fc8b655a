//! One playable fragmented MP4 from many segments: a single init section, a clock that begins at zero, fragments numbered
//! through. Pure: bytes in, bytes out.

use custody_shared::fmp4::Fmp4Error;

use crate::retrieval::Opened;

/// The state between segments of one file.
#[derive(Debug, Clone, Default)]
pub struct Joiner {
    init: Vec<u8>,
    origin: Option<u64>,
    fragments: u32,
}

impl Joiner {
    /// Whether `opened` belongs into this file: its init section is the file's, or the file is still empty.
    pub fn takes(&self, opened: &Opened) -> bool {
        self.origin.is_none() || self.init == opened.init()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.origin.is_none()
    }

    /// The bytes that `opened` adds to the file.
    ///
    /// # Errors
    /// A fragment that is not what an agent writes.
    pub fn push(&mut self, opened: &Opened) -> Result<Vec<u8>, Fmp4Error> {
        let Some((_, first)) = opened.clip().fragments.first() else {
            return Ok(Vec::new());
        };
        let mut out = Vec::with_capacity(opened.len() + if self.is_empty() { opened.init().len() } else { 0 });
        if self.origin.is_none() {
            self.init = opened.init().to_vec();
            out.extend_from_slice(&self.init);
        }
        let origin = *self.origin.get_or_insert(*first);
        let from = out.len();
        opened.write_fragments(origin, &mut out)?;
        let mut at = from;
        for (range, _) in &opened.clip().fragments {
            self.fragments = self.fragments.wrapping_add(1);
            number(&mut out[at..at + range.len()], self.fragments);
            at += range.len();
        }
        Ok(out)
    }
}

/// Writes a fragment's number where the writer puts it: `moof` begins with `mfhd`.
fn number(fragment: &mut [u8], number: u32) {
    if fragment.get(12..16) == Some(b"mfhd")
        && let Some(field) = fragment.get_mut(20..24)
    {
        field.copy_from_slice(&number.to_be_bytes());
    }
}
