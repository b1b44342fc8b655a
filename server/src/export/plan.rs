//! What a copy consists of, once every segment was seen.

use bytes::Bytes;
use custody_shared::hash::Sha256Hash;
use custody_shared::id::CameraId;
use custody_shared::time::UtcMicros;

use super::zip::{DosTime, Entry, Zip};

/// A footage file of a copy.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its camera.
    pub camera: CameraId,
    /// The camera's name.
    pub camera_name: String,
    /// Name inside the archive.
    pub name: String,
    /// Name in addresses: the camera's id, with a number from the second part on.
    pub address: String,
    /// Codec, RFC 6381.
    pub codec: String,
    /// Its segments, in order.
    pub segments: Vec<u64>,
    /// First picture.
    pub start: UtcMicros,
    /// End of the last segment.
    pub end: UtcMicros,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Hash,
    /// CRC-32 of the file.
    pub crc32: u32,
}

/// A small file of a copy, kept in memory.
#[derive(Debug, Clone)]
pub struct Document {
    /// Name inside the archive.
    pub name: String,
    /// Content.
    pub content: Bytes,
}

/// Everything that a copy consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Footage.
    pub parts: Vec<Part>,
    /// What explains and proves it.
    pub documents: Vec<Document>,
    /// Time shown in the archive.
    pub time: DosTime,
}

impl Plan {
    /// The archive's entries, in order.
    pub fn entries(&self) -> Vec<Entry> {
        let documents = self.documents.iter().map(|document| Entry {
            name: document.name.clone(),
            size: document.content.len() as u64,
            crc32: crc32fast::hash(&document.content),
        });
        let parts = self.parts.iter().map(|part| Entry {
            name: part.name.clone(),
            size: part.bytes,
            crc32: part.crc32,
        });
        documents.chain(parts).collect()
    }

    /// Bytes of the archive.
    pub fn archive_len(&self) -> u64 {
        Zip::total_len(&self.entries())
    }

    /// Bytes of the footage.
    pub fn footage_len(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}
