//! Frames to the recorder.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use custody_shared::capture::{ACCESS_UNIT_HEAD, Ending, FrameKind, HEAD, access_unit_head, head};
use custody_shared::fmp4::{ParameterSets, VideoParameters, nal};

use crate::failure::Failure;
use crate::fence::Fence;
use crate::watchdog::Watchdog;

/// Standard output, unbuffered: each access unit is one write.
pub(crate) struct Output {
    pipe: File,
    watchdog: Watchdog,
    sent: Option<VideoParameters>,
    buffer: Vec<u8>,
    /// Closed after the first picture.
    fence: Option<Fence>,
}

impl Output {
    pub(crate) fn new(watchdog: Watchdog, fence: Fence) -> std::io::Result<Self> {
        let pipe = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self {
            pipe,
            watchdog,
            sent: None,
            buffer: Vec::new(),
            fence: Some(fence),
        })
    }

    /// The source answered; from here on pictures are waited for.
    pub(crate) fn connected(&self) {
        self.watchdog.alive();
    }

    /// Sends one access unit, given as NAL units in any framing, and before it the parameters if they are new.
    ///
    /// Pictures before the first complete parameter sets are left out: nobody could decode them.
    pub(crate) fn send<'a>(
        &mut self,
        units: impl Iterator<Item = &'a [u8]>,
        sets: &mut ParameterSets,
        size: (u16, u16),
        pts_90k: Option<i64>,
    ) -> Result<(), Failure> {
        let refuse = |error: &dyn std::fmt::Display| Failure::new(Ending::Unsupported, error);
        const BEFORE: usize = HEAD + ACCESS_UNIT_HEAD;
        self.buffer.clear();
        self.buffer.resize(BEFORE, 0);
        let changed = nal::rewrite(units, sets, &mut self.buffer).map_err(|error| refuse(&error))?;
        if (changed || self.sent.is_none()) && sets.complete() {
            let parameters =
                VideoParameters::from_parameter_sets(sets, size.0, size.1).map_err(|error| refuse(&error))?;
            if self.sent.as_ref() != Some(&parameters) {
                let entry = parameters.sample_entry();
                let head = head(FrameKind::Parameters, entry.len()).map_err(|error| refuse(&error))?;
                self.write(&[&head[..], entry].concat())?;
                self.sent = Some(parameters);
            }
        }
        if self.sent.is_none() || self.buffer.len() == BEFORE {
            return Ok(());
        }
        let frame = head(FrameKind::AccessUnit, self.buffer.len() - HEAD).map_err(|error| refuse(&error))?;
        self.buffer[..HEAD].copy_from_slice(&frame);
        self.buffer[HEAD..BEFORE].copy_from_slice(&access_unit_head(pts_90k));
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        self.buffer = buffer;
        written?;
        match self.fence.take().map(Fence::close) {
            None | Some(0) => Ok(()),
            Some(missing) => {
                let head = head(FrameKind::Unfenced, 1).map_err(|error| refuse(&error))?;
                self.write(&[&head[..], &[missing]].concat())
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.watchdog.pause();
        // A recorder that is gone needs no words.
        self.pipe
            .write_all(bytes)
            .map_err(|error| Failure::new(Ending::Ended, error))?;
        self.watchdog.alive();
        Ok(())
    }
}
