//! Killed, cut off, torn: what a crash leaves is finished, stated and explained.

use super::super::*;
use super::rig::*;

#[test]
fn a_killed_process_leaves_a_truncated_segment_and_an_exact_gap() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(17);
    rig.kill();
    rig.pass(30 * S);
    rig.start();
    rig.film(11);
    rig.stop();
    let segments = rig.segments();
    assert!(segments[1].truncated && segments[1].frames > 0);
    assert_eq!(segments.iter().filter(|segment| segment.truncated).count(), 1);
    rig.open_all();
    rig.assert_no_hole();
    let gaps = rig.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, until, cause) = gaps[0];
    assert_eq!((until, cause), (470, GapCause::AgentRestart));
    // At most what was in flight is lost: the group being filled and the one held back.
    assert!((140..=170).contains(&from), "{gaps:?}");
}

#[test]
fn why_there_is_a_hole_before_a_start() {
    for (wanted, end) in [
        (GapCause::AgentRestart, (|rig: &mut Rig| rig.kill()) as fn(&mut Rig)),
        (GapCause::Stopped, |rig| rig.stop()),
        (GapCause::PowerLoss, |rig| {
            rig.kill();
            std::fs::write(rig.place().running(), "another boot of the kernel").expect("marker");
        }),
    ] {
        let mut rig = Rig::new();
        rig.film(12);
        end(&mut rig);
        rig.pass(120 * S);
        rig.start();
        rig.film(2);
        rig.stop();
        let causes: Vec<GapCause> = rig.gaps().into_iter().map(|(_, _, cause)| cause).collect();
        assert_eq!(causes, [wanted]);
        rig.assert_no_hole();
    }
}

#[test]
fn a_file_torn_at_any_place_is_cut_to_whole_chunks_or_removed() {
    let mut rig = Rig::new();
    rig.frame_bytes = 20_000;
    rig.film(7);
    rig.kill();
    let path = find_segment_file(&rig.place(), 0).expect("listed").expect("there");
    let whole = std::fs::read(&path).expect("read");
    let preamble = PREAMBLE_LEN;
    for (name, length) in [
        ("nothing", 0),
        ("half a preamble", preamble / 2),
        ("a preamble", preamble),
        ("half a chunk", preamble + SEALED_CHUNK / 2),
        ("one chunk", preamble + SEALED_CHUNK),
        ("one chunk and a byte", preamble + SEALED_CHUNK + 1),
        ("all that was written", whole.len()),
    ] {
        let copy = Rig {
            folder: copied(rig.folder.path()),
            keeper: None,
            ..Rig::new()
        };
        let mut copy = Rig {
            given: rig.given.clone(),
            ..copy
        };
        copy.clock.set(rig.clock.now());
        let torn = find_segment_file(&copy.place(), 0).expect("listed").expect("there");
        std::fs::write(&torn, &whole[..length]).expect("tear");
        copy.start();
        let segments = copy.segments();
        let chunks = length.saturating_sub(preamble) / SEALED_CHUNK;
        if chunks == 0 {
            assert!(segments.is_empty() && !torn.exists(), "{name}");
        } else {
            assert!(segments[0].truncated, "{name}");
            assert_eq!(
                segments[0].file_len as usize,
                preamble + chunks * SEALED_CHUNK,
                "{name}"
            );
            copy.open_all();
        }
        // The number is given out again only where no statement names it.
        copy.film(2);
        copy.stop();
        let seqs: Vec<u64> = copy
            .segments()
            .iter()
            .map(|segment| segment.preamble.header.seq)
            .collect();
        assert_eq!(seqs, (0..seqs.len() as u64).collect::<Vec<_>>(), "{name}");
        copy.assert_no_hole();
    }
}

fn copied(from: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).expect("folder");
        for entry in std::fs::read_dir(from).expect("list") {
            let entry = entry.expect("entry");
            let place = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &place);
            } else {
                std::fs::copy(entry.path(), place).expect("copy");
            }
        }
    }
    let to = tempfile::tempdir().expect("folder");
    copy(from, to.path());
    to
}

#[test]
fn without_the_note_a_recovered_segment_still_says_when_it_ended() {
    let mut rig = Rig::new();
    rig.frame_bytes = 100_000;
    rig.film(15);
    rig.kill();
    std::fs::remove_file(rig.place().recording()).expect("the note is lost");
    rig.start();
    let last = rig.segments().pop().expect("recovered");
    assert!(last.truncated && last.frames == 0 && last.t_end > last.preamble.header.t_start);
    rig.open_all();
}

#[test]
fn a_lost_end_of_the_log_continues_the_servers_chain() {
    let mut rig = Rig::new();
    rig.film(45);
    rig.stop();
    let reader = LogReader::new(&rig.place().statements());
    let last = reader.last().expect("read").expect("statements");
    let server = Head {
        next_index: last.index + 1,
        last_hash: Sha256Hash::of(&last.bytes),
    };
    crate::cursor::write(&rig.place().acked(), server).expect("receipt");
    let log = std::fs::read_dir(rig.place().statements())
        .expect("list")
        .next()
        .expect("a file")
        .expect("entry")
        .path();
    let length = std::fs::metadata(&log).expect("metadata").len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .expect("open")
        .set_len(length - 3000)
        .expect("lost");
    rig.start();
    rig.film(12);
    rig.stop();
    let mut reader = LogReader::new(&rig.place().statements());
    let out = reader.read(server.next_index, u64::MAX, |_| true).expect("read");
    assert_eq!(out.first_index, server.next_index);
    let mut chain = SharedChain {
        camera: camera(),
        next_index: server.next_index,
        last_hash: server.last_hash,
    };
    for bytes in out.statements {
        let signed = SignedStatement::from_bytes(bytes).expect("limits");
        let statement = signed.verify(&testing::statement_key().public()).expect("signed");
        chain = chain.check(&statement, &signed).expect("the server takes it");
    }
}

#[test]
fn a_server_that_knows_more_is_continued_and_nothing_said_here_is_lost() {
    let mut rig = Rig::new();
    rig.film(25);
    let said = rig.statements().len() as u64;
    let server = Head {
        next_index: said + 5,
        last_hash: Sha256Hash::of(b"what this disk lost"),
    };
    rig.keeper().acked(server, 1);
    rig.film(12);
    rig.stop();
    let mut reader = LogReader::new(&rig.place().statements());
    let out = reader.read(server.next_index, u64::MAX, |_| true).expect("read");
    let mut chain = SharedChain {
        camera: camera(),
        next_index: server.next_index,
        last_hash: server.last_hash,
    };
    let mut again = Vec::new();
    for bytes in out.statements {
        let signed = SignedStatement::from_bytes(bytes).expect("limits");
        let statement = signed.verify(&testing::statement_key().public()).expect("signed");
        chain = chain.check(&statement, &signed).expect("the server takes it");
        if let Kind::Segment(segment) = statement.kind {
            again.push(segment.preamble.header.seq);
        }
    }
    assert_eq!(
        again,
        (0..again.len() as u64).collect::<Vec<_>>(),
        "every segment is stated to the server"
    );
}

#[test]
fn killed_again_and_again_it_keeps_one_chain_and_explains_every_hole() {
    let mut rig = Rig::new();
    rig.frame_bytes = 9_000;
    for round in 0..30 {
        rig.film(1 + round * 7 % 23);
        rig.kill();
        rig.pass((round * 13 % 50) * S);
        rig.start();
    }
    rig.film(12);
    rig.stop();
    rig.assert_no_hole();
    rig.open_all();
    assert!(rig.gaps().iter().all(|gap| gap.2 == GapCause::AgentRestart));
}
