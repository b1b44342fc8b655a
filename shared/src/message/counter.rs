//! Each message is obeyed once.

/// A message with a counter that is not higher than all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message's counter is {counter}, and {highest} was seen before")]
pub struct Replayed {
    /// The message's counter.
    pub counter: u64,
    /// The highest seen.
    pub highest: u64,
}

/// Remembers the highest counter of one kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CounterGuard {
    highest: Option<u64>,
}

impl CounterGuard {
    /// A guard that has seen nothing, or everything up to `highest`.
    pub const fn new(highest: Option<u64>) -> Self {
        Self { highest }
    }

    /// The highest counter seen, to be stored.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Takes a counter if it is higher than all before.
    ///
    /// # Errors
    /// If it is not.
    pub fn accept(&mut self, counter: u64) -> Result<(), Replayed> {
        match self.highest {
            Some(highest) if counter <= highest => Err(Replayed { counter, highest }),
            _ => {
                self.highest = Some(counter);
                Ok(())
            }
        }
    }
}
