//! A witness's word on a checkpoint (C2SP `tlog-cosignature`, Ed25519, version 1), and what a witness is asked
//! (C2SP `tlog-witness`, `add-checkpoint`).

use super::note::{COSIGNATURE_V1, Note, NoteError, NoteSigner, NoteVerifier, Signature};
use super::tree::{MAX_PROOF_HASHES, MAX_SIZE, NodeHash};
use super::{decimal, hash_line, hash_text};

/// Timestamps are seconds since 1970 UTC and never above this.
const MAX_TIMESTAMP: u64 = i64::MAX as u64;

/// `cosignature/v1`, the time, and the whole note text.
fn message(timestamp: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {timestamp}\n{text}").into_bytes()
}

/// A witness's private key. It must serve for cosignatures alone: the signed message does not name the witness.
pub struct CosignatureSigner(NoteSigner);

impl CosignatureSigner {
    /// A witness from its name and an Ed25519 seed.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        NoteSigner::with_algorithm(name, COSIGNATURE_V1, seed).map(CosignatureSigner)
    }

    /// Cosigns a checkpoint's text at a time in seconds since 1970 UTC. The caller has checked that the checkpoint
    /// continues the last one it cosigned, and has made that durable.
    pub fn cosign(&self, checkpoint_text: &str, timestamp_s: u64) -> Signature {
        let timestamp = timestamp_s.min(MAX_TIMESTAMP);
        let signature = self.0.raw_signature(&message(timestamp, checkpoint_text));
        let bytes = [&timestamp.to_be_bytes()[..], &signature].concat();
        Signature {
            name: self.0.name().to_owned(),
            key_id: self.0.verifier().key_id(),
            bytes,
        }
    }

    /// The public half.
    pub fn verifier(&self) -> CosignatureVerifier {
        CosignatureVerifier(self.0.verifier())
    }
}

/// A witness's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignatureVerifier(NoteVerifier);

impl CosignatureVerifier {
    /// A verifier from a name and 32 public bytes.
    pub fn from_public(name: &str, public: &[u8; 32]) -> Result<Self, NoteError> {
        NoteVerifier::with_algorithm(name, COSIGNATURE_V1, public).map(CosignatureVerifier)
    }

    /// Parses a verifier key with signature type 0x04.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let key = NoteVerifier::parse(text)?;
        if key.algorithm() != COSIGNATURE_V1 {
            return Err(NoteError::MalformedKey);
        }
        Ok(CosignatureVerifier(key))
    }

    /// Checks this witness's cosignature on a note; the answer is its time in seconds since 1970 UTC.
    pub fn verify(&self, note: &Note) -> Result<u64, NoteError> {
        note.verify_with(&self.0, |bytes| {
            let (timestamp, signature) = bytes.split_first_chunk::<8>()?;
            let timestamp = u64::from_be_bytes(*timestamp);
            let good = timestamp <= MAX_TIMESTAMP && self.0.verifies(&message(timestamp, note.text()), signature);
            good.then_some(timestamp)
        })
    }
}

impl std::fmt::Display for CosignatureVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a log sends to a witness: the size last cosigned, the proof from there, and the signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the witness is believed to have cosigned last; 0 for never.
    pub old_size: u64,
    /// The consistency proof from there, at most 63 hashes.
    pub proof: Vec<NodeHash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// Parses a request body.
    pub fn parse(body: &str) -> Option<Self> {
        let (head, checkpoint) = body.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old_size = decimal(lines.next()?.strip_prefix("old ")?, MAX_SIZE)?;
        let proof: Vec<NodeHash> = lines.map(hash_line).take(MAX_PROOF_HASHES + 1).collect::<Option<_>>()?;
        let fits = proof.len() <= MAX_PROOF_HASHES && Note::parse(checkpoint).is_ok();
        fits.then(|| AddCheckpoint {
            old_size,
            proof,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

impl std::fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|h| writeln!(f, "{}", hash_text(h)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The cosigned example of tlog-cosignature, and the request example of tlog-witness.
    const COSIGNED: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    const REQUEST: &str = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n\
        example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    #[test]
    fn the_signed_message_is_the_specifications() {
        let note = Note::parse(COSIGNED).unwrap();
        let witness = &note.signatures()[1];
        assert_eq!(witness.bytes.len(), 72);
        assert_eq!(witness.bytes[..8], 1_679_315_147u64.to_be_bytes());
        let want = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(message(1_679_315_147, note.text()), want.as_bytes());
        assert_eq!(note.to_string(), COSIGNED);
    }

    #[test]
    fn a_cosignature_holds_for_its_text_time_and_key_only() {
        let witness = CosignatureSigner::from_seed("custody/clinic/gate-2", &[5; 32]).unwrap();
        let mut note = Note::parse(COSIGNED).unwrap();
        assert!(matches!(witness.verifier().verify(&note), Err(NoteError::NotSigned(_))));
        let line = witness.cosign(note.text(), 1_800_000_000);
        note.add(line.clone());
        assert_eq!(witness.verifier().verify(&note), Ok(1_800_000_000));
        let text = witness.verifier().to_string();
        assert_eq!(
            CosignatureVerifier::parse(&text).unwrap().verify(&note),
            Ok(1_800_000_000)
        );

        let mut other =
            Note::new("example.com/behind-the-sofa\n20852164\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n".into())
                .unwrap();
        other.add(line.clone());
        assert!(
            matches!(witness.verifier().verify(&other), Err(NoteError::BadSignature(_))),
            "another text"
        );
        for at in 0..line.bytes.len() {
            let mut bent = line.clone();
            bent.bytes[at] ^= 1;
            let mut note = Note::parse(COSIGNED).unwrap();
            note.add(bent);
            assert!(
                matches!(witness.verifier().verify(&note), Err(NoteError::BadSignature(_))),
                "byte {at}"
            );
        }
        // The same key as a plain note key has another id: neither passes for the other.
        assert!(super::super::checkpoint::LogVerifier::parse(&text).is_err());
    }

    #[test]
    fn the_request_example_reads_and_writes_itself() {
        let request = AddCheckpoint::parse(REQUEST).unwrap();
        assert_eq!((request.old_size, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.to_string(), REQUEST);
        let first = AddCheckpoint {
            old_size: 0,
            proof: vec![],
            checkpoint: request.checkpoint,
        };
        assert_eq!(AddCheckpoint::parse(&first.to_string()), Some(first));
        for (bent, flaw) in [
            (REQUEST.replace("old 2", "old 02"), "leading zero"),
            (REQUEST.replace("old ", ""), "no size"),
            (REQUEST.replace("PlRN", "PlR"), "short hash"),
            (REQUEST.replace("/0=\n\n", "/0=\n"), "no empty line"),
            (
                format!(
                    "old 1\n{}\n{COSIGNED}",
                    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n".repeat(64)
                ),
                "64 hashes",
            ),
        ] {
            assert_eq!(AddCheckpoint::parse(&bent), None, "{flaw}");
        }
    }
}
