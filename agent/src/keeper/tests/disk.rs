//! Disks that are full or fail in the middle of something.

use super::super::*;
use super::rig::*;

#[test]
fn a_full_disk_is_on_record_while_it_lasts_and_recording_resumes_by_itself() {
    let mut rig = Rig::new();
    rig.film(20);
    rig.free.store(0, Ordering::Relaxed);
    rig.film(40);
    assert!(!rig.pulse.is_recording());
    assert!(rig.pulse.faults().contains(Faults::DISK_LOW));
    assert_eq!(rig.gaps().len(), 1, "stated while it lasts");
    rig.free.store(u64::MAX, Ordering::Relaxed);
    rig.film(30);
    assert!(rig.pulse.is_recording() && rig.pulse.faults().is_empty());
    rig.stop();
    let gaps = rig.gaps();
    assert!(gaps.iter().all(|gap| gap.2 == GapCause::DiskFull), "{gaps:?}");
    // In two pieces without a seam: what was stated while it lasted, and the rest.
    assert_eq!((gaps.len(), gaps[0].1), (2, gaps[1].0), "{gaps:?}");
    assert!(
        (180..=210).contains(&gaps[0].0) && (590..=710).contains(&gaps[1].1),
        "{gaps:?}"
    );
    rig.assert_no_hole();
    rig.open_all();
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_segment_keeps_what_it_has() {
    for fault in [DiskFault::Lost, DiskFault::Half, DiskFault::Written] {
        for after in [0, 1_000, 100_000, 700_000, 2_500_000] {
            let mut rig = Rig::new();
            rig.frame_bytes = 30_000;
            rig.film(12);
            break_disk(Some((after, fault)));
            rig.film(25);
            break_disk(None);
            rig.film(25);
            rig.stop();
            rig.open_all();
            rig.assert_no_hole();
            let gaps = rig.gaps();
            let causes: Vec<GapCause> = gaps.iter().map(|gap| gap.2).collect();
            assert!(!causes.is_empty(), "{fault:?} after {after}");
            assert!(
                causes.iter().all(|cause| *cause == GapCause::DiskFull),
                "{fault:?} after {after}: {gaps:?}"
            );
        }
    }
}
