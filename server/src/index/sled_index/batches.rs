//! What one call of `put` writes, gathered and then applied table by table.

use super::*;

#[derive(Default)]
pub(super) struct Batches {
    cameras: HashMap<CameraId, CameraState>,
    keys: Batch,
    segments: Batch,
    gaps: Batch,
    destroyed: Batch,
    spans: HashMap<[u8; 12], (i64, i64)>,
}

impl SledIndex {
    pub(super) fn add(&self, state: &mut State, batches: &mut Batches, entry: &IndexEntry) -> Result<(), IndexError> {
        let known = state.cameras.get(&entry.camera).copied();
        let mut camera = known.unwrap_or_else(|| {
            let number = state.next_number;
            state.next_number += 1;
            let position = Position {
                key: entry.position.key,
                next_index: 0,
                last_hash: Sha256Hash::ZERO,
            };
            CameraState {
                number,
                position,
                at: StatementRef::START,
                longest: [0; 3],
                keys: 0,
            }
        });
        // The log's order decides, so that nothing put a second time moves a position back.
        if known.is_none() || entry.at > camera.at {
            camera.position = entry.position;
            camera.at = entry.at;
        }
        match &entry.fact {
            Fact::Segment(segment) => {
                let key = self.key_number(state, &mut camera, segment.key_id, &mut batches.keys)?;
                camera.longest[0] = camera.longest[0].max(segment.range.len_us());
                batches.segments.insert(
                    &row::segment_key(camera.number, segment)[..],
                    row::segment_value(segment, key),
                );
                self.span(batches, camera.number, segment)?;
            }
            Fact::Gap(gap) => {
                camera.longest[1] = camera.longest[1].max(gap.range.len_us());
                batches.gaps.insert(
                    &row::event_key(camera.number, gap.range.start(), entry.at)[..],
                    row::gap_value(gap),
                );
            }
            Fact::Destroyed(destroyed) => {
                camera.longest[2] = camera.longest[2].max(destroyed.range.len_us());
                batches.destroyed.insert(
                    &row::event_key(camera.number, destroyed.range.start(), entry.at)[..],
                    row::destroyed_value(destroyed),
                );
            }
            Fact::None => {}
        }
        state.cameras.insert(entry.camera, camera);
        batches.cameras.insert(entry.camera, camera);
        Ok(())
    }

    /// Widens the span of time in which the segments of one block of numbers lie.
    pub(super) fn span(
        &self,
        batches: &mut Batches,
        number: CameraNumber,
        segment: &SegmentRow,
    ) -> Result<(), IndexError> {
        let start = segment.range.start().get();
        let key = Self::number_row(number, segment.seq);
        let span = match batches.spans.get(&key) {
            Some(span) => Some(*span),
            None => match self.numbers.get(key).map_err(store("reading"))? {
                Some(value) => Some(Self::number_span(&value)?),
                None => None,
            },
        };
        let (first, last) = span.unwrap_or((start, start));
        batches.spans.insert(key, (first.min(start), last.max(start)));
        Ok(())
    }

    pub(super) fn apply(&self, batches: Batches, upto: StatementRef) -> Result<(), IndexError> {
        let writing = store("writing");
        let mut numbers = Batch::default();
        for (key, (first, last)) in batches.spans {
            let mut value = Vec::with_capacity(16);
            row::push(&mut value, u64::try_from(first).unwrap_or(0));
            row::push(&mut value, u64::try_from(last - first).unwrap_or(0));
            numbers.insert(&key[..], value);
        }
        let mut cameras = Batch::default();
        for (camera, state) in batches.cameras {
            cameras.insert(&camera.as_bytes()[..], state.value());
        }
        for (table, batch) in [
            (&self.keys, batches.keys),
            (&self.segments, batches.segments),
            (&self.numbers, numbers),
            (&self.gaps, batches.gaps),
            (&self.destroyed, batches.destroyed),
            // A crash before this leaves rows without a position; the log puts them again.
            (&self.cameras, cameras),
        ] {
            table.apply_batch(batch).map_err(&writing)?;
        }
        self.meta.insert("upto", &row::place(upto)).map_err(&writing)?;
        self.db.flush().map_err(store("flushing"))?;
        Ok(())
    }
}
