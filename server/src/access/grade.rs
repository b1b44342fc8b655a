//! What a person's account is for.

use serde::{Deserialize, Serialize};

/// A person holds exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Files requests and watches what was granted to them.
    Asks,
    /// Decides others' requests.
    Decides,
    /// Installs and maintains cameras and sees no footage, nor anything from which presence could be told.
    Administers,
}

impl Grade {
    /// Every grade.
    pub const ALL: [Self; 3] = [Self::Asks, Self::Decides, Self::Administers];

    /// The word used in rows, settings and messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asks => "asks",
            Self::Decides => "decides",
            Self::Administers => "administers",
        }
    }
}

impl std::fmt::Display for Grade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Grade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|grade| grade.word() == text)
            .ok_or_else(|| "unknown grade; use asks, decides or administers".to_owned())
    }
}
