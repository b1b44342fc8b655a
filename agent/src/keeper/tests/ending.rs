//! The end of retention, alone and resumed.

use super::super::*;
use super::rig::*;

#[test]
fn a_day_past_its_end_is_destroyed_alone_and_the_next_day_is_not() {
    let mut rig = Rig::new();
    rig.film(25);
    let first = rig.segments();
    rig.pass(DAY_US);
    rig.film(25);
    rig.stop();
    let stated = rig.segments().len();
    rig.start();
    while rig.keeper().enforce_retention() {}
    assert!(
        find_segment_file(&rig.place(), 0).expect("list").is_some(),
        "not a moment too early"
    );
    // The first day's key ends at the end of the 31st day after it.
    let due = (20_700 + 31) * DAY_US;
    rig.pass(due - rig.clock.now().get() - 1);
    while rig.keeper().enforce_retention() {}
    assert!(
        find_segment_file(&rig.place(), 0).expect("list").is_some(),
        "not a moment too early"
    );
    rig.pass(1);
    while rig.keeper().enforce_retention() {}
    for segment in &first {
        assert_eq!(
            find_segment_file(&rig.place(), segment.preamble.header.seq).expect("list"),
            None
        );
    }
    let destroyed: Vec<_> = rig
        .statements()
        .into_iter()
        .filter_map(|s| {
            if let Kind::Destroyed(destroyed) = s.kind {
                Some(destroyed)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(destroyed.len(), 1);
    assert_eq!((destroyed[0].first_seq, destroyed[0].key_id), (0, day_key(20_700)));
    let last = first.last().expect("one");
    assert!(destroyed[0].range.end() >= last.t_end);
    let remaining = (0..stated as u64).filter(|seq| find_segment_file(&rig.place(), *seq).expect("list").is_some());
    assert!(remaining.count() >= 2);
}

#[test]
fn destruction_that_was_interrupted_goes_on_where_it_was() {
    let mut rig = Rig::new();
    rig.film(45);
    rig.stop();
    rig.start();
    rig.pass(40 * DAY_US);
    // The disk refuses the statement: the files are gone, the folder waits.
    break_disk(Some((0, DiskFault::Lost)));
    rig.keeper().enforce_retention();
    break_disk(None);
    assert_eq!(find_segment_file(&rig.place(), 0).expect("list"), None);
    rig.kill();
    rig.start();
    while rig.keeper().enforce_retention() {}
    let destroyed = rig
        .statements()
        .into_iter()
        .filter(|s| matches!(s.kind, Kind::Destroyed(_)))
        .count();
    assert_eq!(destroyed, 1);
    assert_eq!(std::fs::read_dir(rig.place().segments()).expect("list").count(), 0);
}
