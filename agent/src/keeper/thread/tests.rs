use std::sync::mpsc::channel;

use bytes::Bytes;
use custody_shared::statement::Timing;

use super::*;
use crate::keeper::tests::rig::{Rig, parameters};
use crate::paths::DAY_US;
use crate::segmenter::FragmentData;

const NOON: i64 = 20_700 * DAY_US + DAY_US / 2;

fn at(second: i64) -> UtcMicros {
    UtcMicros::new(NOON + second * 1_000_000)
}

/// A whole segment of `seconds` with one fragment of `size` bytes a second.
fn segment(start: i64, seconds: i64, size: usize) -> Vec<Vec<Action>> {
    let mut all = vec![vec![Action::Begin {
        t_start: at(start),
        init: vec![0; 32],
        parameters: parameters(),
    }]];
    for second in start..start + seconds {
        let data = FragmentData {
            head: vec![0; 8],
            samples: vec![Bytes::from(vec![0; size - 8])],
        };
        all.push(vec![Action::Fragment {
            data,
            t_start: at(second),
            t_end: at(second + 1),
            frames: 10,
        }]);
    }
    let (frames, fragments) = (10 * seconds as u32, seconds as u32);
    let (closed_gop, b_frames, timing) = (true, false, Timing::Source);
    all.push(vec![Action::End {
        t_end: at(start + seconds),
        frames,
        fragments,
        closed_gop,
        b_frames,
        timing,
    }]);
    all
}

#[test]
fn a_stalled_disk_costs_a_stated_gap_and_never_memory() {
    const LIMIT: usize = 1 << 20;
    let mut rig = Rig::new();
    let mut keeper = rig.take_keeper();
    // The disk hangs at the first segment until it is let go.
    let (let_go, hanging) = channel::<()>();
    keeper.free_bytes = Box::new(move |_| {
        let _ = hanging.recv();
        Ok(u64::MAX)
    });
    let (inlet, ended) = start(keeper, LIMIT).expect("a thread");
    let mut most = 0;
    for start in (0..100).step_by(10) {
        for actions in segment(start, 10, 100_000) {
            inlet.offer(actions);
            most = most.max(inlet.waiting_bytes.load(Ordering::Relaxed));
        }
    }
    assert!(most <= LIMIT, "{most}");
    drop(let_go);
    // The disk works again: as soon as the queue is half empty, the next segment is recorded.
    while inlet.waiting_bytes.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    for actions in segment(100, 10, 10_000) {
        inlet.offer(actions);
    }
    inlet.stop();
    assert_eq!(ended.blocking_recv(), Ok(true));
    let segments = rig.segments();
    assert_eq!(segments.first().map(|s| s.preamble.header.t_start), Some(at(0)));
    assert_eq!(segments.last().map(|s| s.t_end), Some(at(110)));
    assert!(segments.len() < 11);
    let causes: Vec<_> = rig.gaps().into_iter().map(|gap| gap.2).collect();
    assert_eq!(causes, [GapCause::DiskError]);
    rig.assert_no_hole();
}

#[test]
fn a_panic_in_the_keeper_is_noticed() {
    let mut rig = Rig::new();
    let mut keeper = rig.take_keeper();
    keeper.free_bytes = Box::new(|_| panic!("the test's disk"));
    let (inlet, ended) = start(keeper, 1 << 20).expect("a thread");
    for actions in segment(0, 2, 100) {
        inlet.offer(actions);
    }
    assert!(ended.blocking_recv().is_err());
    assert!(!inlet.tell(Job::Stop));
}
