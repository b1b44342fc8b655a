//! A row with everything that proves it: what a keyholder asks to see before it opens anything.

use zeroize::Zeroizing;

use super::checkpoint::{Checkpoint, LogVerifier};
use super::commitment::{Leaf, Salt, commit};
use super::proof::{TlogProof, TlogProofError};
use super::tree::NodeHash;

/// Why evidence was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The body or its salt is gone: the row is proven, what it said is not.
    #[error("row {0} has no body any more")]
    Purged(u64),
    /// Salt and body are not what the leaf commits to.
    #[error("the body of row {0} is not what the log committed to")]
    OtherBody(u64),
    /// The proof or its checkpoint does not hold.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
}

/// A row, its commitment and the proof of its place. Contains the row's text: as sensitive as the row.
#[derive(Clone)]
pub struct RowEvidence {
    /// The row's index in the log.
    pub index: u64,
    /// The commitment in the tree.
    pub leaf: Leaf,
    /// The salt, unless the body has been purged.
    pub salt: Option<Salt>,
    /// The body, unless it has been purged.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// The audit path from the leaf's sibling up.
    pub path: Vec<NodeHash>,
    /// The signed checkpoint that covers the row, with whatever cosignatures were there.
    pub checkpoint: String,
}

/// A row whose commitment, place and checkpoint have been checked. Only [`RowEvidence::verify`] makes one.
pub struct VerifiedRow {
    index: u64,
    body: Zeroizing<Vec<u8>>,
    checkpoint: Checkpoint,
}

impl VerifiedRow {
    /// The row's index in the log.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// What the row says.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
    /// The checkpoint under which it stands.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl RowEvidence {
    /// Checks body against commitment, commitment against path, path against the log's signed checkpoint.
    pub fn verify(&self, log: &LogVerifier) -> Result<VerifiedRow, EvidenceError> {
        let (Some(salt), Some(body)) = (&self.salt, &self.body) else {
            return Err(EvidenceError::Purged(self.index));
        };
        let leaf = commit(salt, body);
        if leaf != self.leaf {
            return Err(EvidenceError::OtherBody(self.index));
        }
        let checkpoint = self.proof().verify(leaf.as_bytes(), log)?;
        Ok(VerifiedRow {
            index: self.index,
            body: body.clone(),
            checkpoint,
        })
    }

    /// The proof of the leaf alone, which may be shown to anybody who may see the tree.
    pub fn proof(&self) -> TlogProof {
        TlogProof {
            extra: None,
            index: self.index,
            path: self.path.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    /// The proof as text with salt and body as extra data, for whoever may read the row: it verifies offline.
    pub fn disclosing_proof(&self) -> TlogProof {
        let extra = match (&self.salt, &self.body) {
            (Some(salt), Some(body)) => Some([&salt.as_bytes()[..], body].concat()),
            _ => None,
        };
        TlogProof { extra, ..self.proof() }
    }

    /// Reads evidence back from [`RowEvidence::disclosing_proof`]. Proves nothing before [`RowEvidence::verify`].
    pub fn from_disclosing_proof(proof: TlogProof) -> Option<Self> {
        let extra = Zeroizing::new(proof.extra?);
        let (salt, body) = extra.split_first_chunk::<32>()?;
        let (salt, body) = (Salt::from_bytes(*salt), Zeroizing::new(body.to_vec()));
        let leaf = commit(&salt, &body);
        let (index, path, checkpoint) = (proof.index, proof.path, proof.checkpoint);
        Some(RowEvidence {
            index,
            leaf,
            salt: Some(salt),
            body: Some(body),
            path,
            checkpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::LogSigner;
    use super::super::tree::{inclusion_proof, root};
    use super::*;

    fn evidence() -> (RowEvidence, LogSigner) {
        let rows: Vec<(Salt, Vec<u8>)> = (0..6u8).map(|i| (Salt::from_bytes([i; 32]), vec![b'r', i])).collect();
        let hashes: Vec<NodeHash> = rows.iter().map(|(s, b)| commit(s, b).hash()).collect();
        let log = LogSigner::from_seed("custody/clinic", &[1; 32]).unwrap();
        let (salt, body) = rows[4].clone();
        let evidence = RowEvidence {
            index: 4,
            leaf: commit(&salt, &body),
            salt: Some(salt),
            body: Some(Zeroizing::new(body)),
            path: inclusion_proof(&hashes, 4, 6).unwrap(),
            checkpoint: log.sign(6, root(&hashes, 6).unwrap()),
        };
        (evidence, log)
    }

    #[test]
    fn evidence_holds_and_survives_its_text() {
        let (evidence, log) = evidence();
        let row = evidence.verify(&log.verifier()).unwrap();
        assert_eq!((row.index(), row.body(), row.checkpoint().size), (4, &b"r\x04"[..], 6));
        let text = evidence.disclosing_proof().to_string();
        let again = RowEvidence::from_disclosing_proof(TlogProof::parse(&text).unwrap()).unwrap();
        assert_eq!(again.verify(&log.verifier()).unwrap().body(), b"r\x04");
        assert!(evidence.proof().extra.is_none(), "the plain proof discloses nothing");
    }

    #[test]
    fn every_part_is_needed() {
        let (good, log) = evidence();
        let check = |change: &dyn Fn(&mut RowEvidence), flaw: &str| {
            let mut bent = good.clone();
            change(&mut bent);
            assert!(bent.verify(&log.verifier()).is_err(), "{flaw}");
        };
        check(&|e| e.body = Some(Zeroizing::new(b"other".to_vec())), "another body");
        check(&|e| e.salt = Some(Salt::from_bytes([9; 32])), "another salt");
        check(&|e| e.body = None, "no body");
        check(&|e| e.index = 3, "another place");
        check(&|e| e.path[0][0] ^= 1, "another path");
        check(&|e| e.path.truncate(1), "half a path");
        check(
            &|e| {
                e.checkpoint = LogSigner::from_seed("custody/clinic", &[2; 32])
                    .unwrap()
                    .sign(6, [0; 32])
            },
            "another key",
        );
        // A whole forged row: consistent in itself, absent from the tree.
        check(
            &|e| {
                e.body = Some(Zeroizing::new(b"forged".to_vec()));
                e.leaf = commit(e.salt.as_ref().unwrap(), b"forged");
            },
            "forged row",
        );
    }
}
