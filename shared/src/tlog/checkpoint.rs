//! A tree's head as text (C2SP `tlog-checkpoint`) and who may sign it.

use super::note::{Note, NoteError, NoteSigner, NoteVerifier, valid_name};
use super::tree::{MAX_SIZE, NodeHash};
use super::{decimal, hash_line, hash_text};

/// Why a checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not a checkpoint.
    #[error("malformed checkpoint")]
    Malformed,
    /// It is another log's.
    #[error("the checkpoint is of the log {found}, not of {wanted}")]
    OtherLog {
        /// The origin it names.
        found: String,
        /// The origin that was asked for.
        wanted: String,
    },
    /// The signatures do not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// Origin, size and root of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: NodeHash,
}

impl Checkpoint {
    /// The note text: three lines. Custody signs no extension lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, hash_text(&self.root))
    }

    /// Parses a note text. Extension lines are allowed and say nothing.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let bad = || CheckpointError::Malformed;
        let mut lines = text.strip_suffix('\n').ok_or_else(bad)?.split('\n');
        let origin = lines
            .next()
            .filter(|o| !o.is_empty() && o.len() <= 255)
            .ok_or_else(bad)?
            .to_owned();
        let size = lines.next().and_then(|l| decimal(l, MAX_SIZE)).ok_or_else(bad)?;
        let root = lines.next().and_then(hash_line).ok_or_else(bad)?;
        if lines.any(str::is_empty) {
            return Err(bad());
        }
        Ok(Checkpoint { origin, size, root })
    }
}

/// Signs the checkpoints of one log; the key's name is the log's origin.
pub struct LogSigner(NoteSigner);

impl LogSigner {
    /// A log's signer from its origin and an Ed25519 seed.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        NoteSigner::from_seed(origin, seed).map(LogSigner)
    }

    /// Parses the text of [`NoteSigner::to_private_text`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        NoteSigner::parse(text).map(LogSigner)
    }

    /// The signed checkpoint of this log at this size. The caller must never ask for two roots of one size.
    pub fn sign(&self, size: u64, root: NodeHash) -> String {
        let text = Checkpoint {
            origin: self.0.name().to_owned(),
            size,
            root,
        }
        .text();
        let mut note = Note::new(text).expect("three lines without control characters are a note");
        note.sign(&self.0);
        note.to_string()
    }

    /// The signer of notes within.
    pub fn note_signer(&self) -> &NoteSigner {
        &self.0
    }

    /// The public half.
    pub fn verifier(&self) -> LogVerifier {
        LogVerifier(self.0.verifier())
    }
}

/// Checks the checkpoints of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerifier(NoteVerifier);

impl LogVerifier {
    /// A verifier from the key's text, `origin+id+key`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let key = NoteVerifier::parse(text)?;
        if key.algorithm() != super::note::ED25519 {
            return Err(NoteError::MalformedKey);
        }
        Ok(LogVerifier(key))
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.0.name()
    }

    /// The key as text; also through `Display`.
    pub fn note_verifier(&self) -> &NoteVerifier {
        &self.0
    }

    /// Opens a signed checkpoint: right origin, signed by the log.
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note)?;
        note.verify(&self.0)?;
        let checkpoint = Checkpoint::parse_text(note.text())?;
        if checkpoint.origin != self.origin() {
            return Err(CheckpointError::OtherLog {
                found: checkpoint.origin,
                wanted: self.origin().to_owned(),
            });
        }
        Ok(checkpoint)
    }
}

impl std::fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a text can be a log's origin: it is a key name too.
pub fn valid_origin(origin: &str) -> bool {
    valid_name(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of tlog-checkpoint.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    #[test]
    fn the_specifications_example_reads_and_writes_itself() {
        let note = Note::parse(EXAMPLE).unwrap();
        let checkpoint = Checkpoint::parse_text(note.text()).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.text(), note.text());
        assert_eq!(note.to_string(), EXAMPLE);
    }

    #[test]
    fn malformed_texts_are_refused() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        assert!(
            Checkpoint::parse_text(&format!("o\n0\n{root}\nextension\n")).is_ok(),
            "positive control"
        );
        for (text, flaw) in [
            (format!("\n1\n{root}\n"), "empty origin"),
            (format!("o\n01\n{root}\n"), "leading zero"),
            (format!("o\n+1\n{root}\n"), "sign"),
            (format!("o\n\n{root}\n"), "no size"),
            (format!("o\n18446744073709551616\n{root}\n"), "beyond 64 bits"),
            (format!("o\n9223372036854775808\n{root}\n"), "beyond the largest tree"),
            ("o\n1\nAAAA\n".into(), "short root"),
            (format!("o\n1\n{}\n", root.replace('=', "==")), "odd padding"),
            (format!("o\n1\n{root}"), "no final newline"),
            (format!("o\n1\n{root}\n\nx\n"), "empty extension"),
            ("o\n1\n".into(), "two lines"),
        ] {
            assert_eq!(Checkpoint::parse_text(&text), Err(CheckpointError::Malformed), "{flaw}");
        }
    }

    #[test]
    fn a_log_opens_its_own_checkpoints_only() {
        let signer = LogSigner::from_seed("custody/clinic", &[3; 32]).unwrap();
        let note = signer.sign(7, [1; 32]);
        assert_eq!(signer.verifier().open(&note).unwrap().size, 7);
        let other_key = LogSigner::from_seed("custody/clinic", &[4; 32]).unwrap();
        assert!(other_key.verifier().open(&note).is_err(), "another key");
        assert!(
            signer.verifier().open(&note.replace("\n7\n", "\n8\n")).is_err(),
            "another size"
        );
        // The right key under the right name over another log's text.
        let mut foreign = Note::new(
            Checkpoint {
                origin: "custody/other".into(),
                size: 7,
                root: [1; 32],
            }
            .text(),
        )
        .unwrap();
        foreign.sign(signer.note_signer());
        assert!(matches!(
            signer.verifier().open(&foreign.to_string()),
            Err(CheckpointError::OtherLog { .. })
        ));
    }
}
