//! One camera's statements in order, each linked to the one before.

use super::{SignedStatement, Statement};
use crate::hash::Sha256Hash;
use crate::id::CameraId;

/// Why a statement is not the next of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It is another camera's.
    #[error("the statement is camera {0}'s")]
    WrongCamera(CameraId),
    /// Its place is taken: it was sent again, or a second statement claims the place.
    #[error("statement {index} is here already")]
    Replay {
        /// The place.
        index: u64,
    },
    /// Statements before it are missing.
    #[error("statement {expected} is missing before {found}")]
    Gap {
        /// The next place.
        expected: u64,
        /// The place of the statement.
        found: u64,
    },
    /// It stands at the right place but follows another history.
    #[error("statement {index} follows another history")]
    Fork {
        /// The place.
        index: u64,
    },
}

/// How far a camera's chain reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The camera.
    pub camera: CameraId,
    /// Place of the next statement; how many there are.
    pub next_index: u64,
    /// Digest of the last statement; [`Sha256Hash::ZERO`] before the first.
    pub last_hash: Sha256Hash,
}

impl Chain {
    /// A chain without statements.
    pub const fn start(camera: CameraId) -> Self {
        Self {
            camera,
            next_index: 0,
            last_hash: Sha256Hash::ZERO,
        }
    }

    /// The chain with one more statement, if that one comes next.
    ///
    /// `statement` is what `signed` says; whoever calls has verified it.
    ///
    /// # Errors
    /// If it is another camera's, or does not come next.
    pub fn check(&self, statement: &Statement, signed: &SignedStatement) -> Result<Self, ChainError> {
        let (index, expected) = (statement.index, self.next_index);
        if statement.camera != self.camera {
            Err(ChainError::WrongCamera(statement.camera))
        } else if index < expected {
            Err(ChainError::Replay { index })
        } else if index > expected {
            Err(ChainError::Gap { expected, found: index })
        } else if statement.prev != self.last_hash {
            Err(ChainError::Fork { index })
        } else {
            Ok(Self {
                next_index: expected + 1,
                last_hash: signed.hash(),
                ..*self
            })
        }
    }
}
