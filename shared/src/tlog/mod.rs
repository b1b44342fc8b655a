//! The record's formats: a transparency log as C2SP lays it down.
//!
//! In scope: hashes, tiles, notes, checkpoints, cosignatures and proofs as bytes and as arithmetic. Out of scope:
//! where tiles lie, who may read them, what a row means. Modules in the order in which a row becomes evidence:
//! [`commitment`] → [`tree`] → [`tile`] → [`note`] → [`checkpoint`] → [`cosignature`] → [`proof`] → [`evidence`].
//! The normative text is `spec/ledger.md`.

pub mod checkpoint;
pub mod commitment;
pub mod cosignature;
pub mod evidence;
pub mod note;
mod note_key;
pub mod proof;
pub mod tile;
pub mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, LogSigner, LogVerifier};
pub use commitment::{Leaf, Salt};
pub use cosignature::{CosignatureSigner, CosignatureVerifier};
pub use evidence::{EvidenceError, RowEvidence, VerifiedRow};
pub use note::{Note, NoteError, NoteSigner, NoteVerifier};
pub use proof::{TlogProof, TlogProofError};
pub use tile::{EntryBundle, Tile, TileHashes, TilePath, TileReader};
pub use tree::{HashReader, NodeHash, ProofError, TreeError};

/// Parses a decimal number as C2SP writes it: digits only, no sign, no leading zero, at most `max`.
pub(crate) fn decimal(text: &str, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= max)
}

/// Parses one base64 line that must hold exactly one hash.
pub(crate) fn hash_line(line: &str) -> Option<NodeHash> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    if line.len() != 44 {
        return None;
    }
    BASE64_STANDARD.decode(line).ok()?.try_into().ok()
}

/// Writes one hash as a base64 line without its newline.
pub(crate) fn hash_text(hash: &NodeHash) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(hash)
}
