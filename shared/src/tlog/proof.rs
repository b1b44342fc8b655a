//! A proof that a row stands in the log, as one text (C2SP `tlog-proof`).

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::checkpoint::{Checkpoint, CheckpointError, LogVerifier};
use super::tree::{MAX_PROOF_HASHES, MAX_SIZE, NodeHash, ProofError, verify_inclusion};
use super::{decimal, hash_line, hash_text};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The longest proof text that is read, in bytes.
pub const MAX_PROOF_TEXT: usize = 512 * 1024;
/// The longest extra data, in bytes.
pub const MAX_EXTRA: usize = 320 * 1024;

/// Why a proof text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The text is no proof.
    #[error("malformed proof")]
    Malformed,
    /// The checkpoint does not hold.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead to the checkpoint's root.
    #[error(transparent)]
    Path(#[from] ProofError),
}

/// Index, audit path and signed checkpoint, and data that the log does not vouch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Unauthenticated data for the application.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// The audit path from the leaf's sibling up.
    pub path: Vec<NodeHash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// Parses a proof text.
    pub fn parse(text: &str) -> Result<Self, TlogProofError> {
        let bad = || TlogProofError::Malformed;
        if text.len() > MAX_PROOF_TEXT {
            return Err(bad());
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(bad)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(bad());
        }
        let extra = match lines.peek().and_then(|l| l.strip_prefix("extra ")) {
            None => None,
            Some(base64) => {
                lines.next();
                let extra = BASE64_STANDARD.decode(base64).map_err(|_| bad())?;
                Some(extra).filter(|e| e.len() <= MAX_EXTRA)
            }
        };
        let index = lines
            .next()
            .and_then(|l| decimal(l.strip_prefix("index ")?, MAX_SIZE))
            .ok_or_else(bad)?;
        let path: Vec<NodeHash> = lines
            .map(hash_line)
            .take(MAX_PROOF_HASHES + 1)
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        if path.len() > MAX_PROOF_HASHES {
            return Err(bad());
        }
        Ok(TlogProof {
            extra,
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Checks that `leaf` (its data) stands at the index under a checkpoint of this log.
    pub fn verify(&self, leaf: &[u8], log: &LogVerifier) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = log.open(&self.checkpoint)?;
        verify_inclusion(leaf, self.index, checkpoint.size, &checkpoint.root, &self.path)?;
        Ok(checkpoint)
    }
}

impl std::fmt::Display for TlogProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|h| writeln!(f, "{}", hash_text(h)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::LogSigner;
    use super::super::tree::{inclusion_proof, leaf_hash, root};
    use super::*;

    // The shape of the specification's example; its checkpoint is abridged there, so ours stands in.
    const HEAD: &str = "c2sp.org/tlog-proof@v1\nextra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6\nindex 73894\n\
        gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\n";

    #[test]
    fn the_specifications_shape_reads_and_writes_itself() {
        let note = LogSigner::from_seed("example.com/fancylog", &[1; 32])
            .unwrap()
            .sign(109_482, [2; 32]);
        let text = format!("{HEAD}{note}");
        let proof = TlogProof::parse(&text).unwrap();
        assert_eq!((proof.index, proof.path.len()), (73_894, 2));
        assert_eq!(proof.extra.as_deref(), Some(&b"age-v1.2.1-darwin-arm64.tar.gz"[..]));
        assert_eq!(proof.to_string(), text);
        let bare = TlogProof { extra: None, ..proof };
        assert_eq!(TlogProof::parse(&bare.to_string()), Ok(bare));
        for (bent, flaw) in [
            (text.replace("@v1", "@v2"), "another version"),
            (text.replace("index 7", "index 07"), "leading zero"),
            (text.replace("index", "extra YQ==\nindex"), "two extras"),
            (text.replace("gSKy", "gSK"), "short hash"),
            (text.replace("extra ", "extra !"), "bad base64"),
            (HEAD.replace("\n\n", "\n"), "no checkpoint"),
        ] {
            assert_eq!(TlogProof::parse(&bent), Err(TlogProofError::Malformed), "{flaw}");
        }
    }

    #[test]
    fn a_proof_holds_for_its_leaf_and_its_log_only() {
        let hashes: Vec<NodeHash> = (0..5u8).map(|i| leaf_hash(&[i])).collect();
        let log = LogSigner::from_seed("custody/clinic", &[1; 32]).unwrap();
        let checkpoint = log.sign(5, root(&hashes, 5).unwrap());
        let proof = TlogProof {
            extra: None,
            index: 3,
            path: inclusion_proof(&hashes, 3, 5).unwrap(),
            checkpoint,
        };
        assert_eq!(proof.verify(&[3], &log.verifier()).unwrap().size, 5);
        assert_eq!(
            proof.verify(&[2], &log.verifier()),
            Err(TlogProofError::Path(ProofError::Mismatch))
        );
        let other = LogSigner::from_seed("custody/clinic", &[2; 32]).unwrap().verifier();
        assert!(matches!(proof.verify(&[3], &other), Err(TlogProofError::Checkpoint(_))));
    }
}
