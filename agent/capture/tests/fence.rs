//! The fence from outside: what a job is read from, it reaches; what a stranger's file or stream asks for besides, it does not.

mod common;

use std::io::Read;
use std::path::Path;

use common::{PICTURE, Running, ffmpeg, motion_jpeg};
use custody_shared::capture::{Ending, FrameKind, Input};

/// The value of a field of every thread's `/proc` status.
fn of_every_thread(process: u32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let statuses = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("status")));
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(field))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    statuses.flatten().filter_map(value).collect()
}

fn kernel_filters() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("Seccomp:"))
}

#[test]
fn after_the_first_picture_every_thread_is_confined_and_goes_on() {
    if !kernel_filters() {
        eprintln!("skipped: this kernel has no seccomp filters");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (copied, encoded) = (folder.path().join("a.mp4"), folder.path().join("a.avi"));
    let source = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25", "-t", "0.6"];
    ffmpeg(&[&source[..], &["-c:v", "libx264", "-bf", "0"]].concat(), &copied);
    ffmpeg(&[&source[..], &["-c:v", "mpeg4"]].concat(), &encoded);
    let looped = |path: &Path| Input::File {
        path: path.to_str().expect("a path").into(),
        repeat: true,
    };
    let cases = [
        (
            "a made-up picture",
            Input::TestPicture {
                name: "gate".into(),
                picture: PICTURE,
            },
        ),
        ("a copied file", looped(&copied)),
        ("an encoded file", looped(&encoded)),
        (
            "a camera",
            Input::HttpMjpeg {
                url: motion_jpeg("200 OK", 60),
                picture: PICTURE,
            },
        ),
    ];
    for (name, input) in cases {
        let mut running = Running::start(input);
        // Files are over after 15 pictures: from then on they have been opened again.
        let (_, pictures) = running.pictures(32);
        assert_eq!(pictures.len(), 32, "{name} goes on");
        let process = running.process();
        let filters = of_every_thread(process, "Seccomp_filters");
        assert!(
            !filters.is_empty() && filters.iter().all(|count| count == "2"),
            "{name}: {filters:?}"
        );
        assert!(
            of_every_thread(process, "NoNewPrivs").iter().all(|set| set == "1"),
            "{name}"
        );
        assert_eq!(running.end(true).0, Some(Ending::Ended), "{name}");
    }
}

#[test]
fn where_the_kernel_can_all_of_it_the_recorder_is_told_of_no_lack() {
    if !kernel_filters() || !Path::new("/sys/kernel/security/landlock").exists() && !landlock_answers() {
        eprintln!("skipped: this kernel has no landlock or no seccomp filters");
        return;
    }
    let mut running = Running::start(Input::TestPicture {
        name: "gate".into(),
        picture: PICTURE,
    });
    let kinds: Vec<_> = (0..4).filter_map(|_| running.frame()).map(|(kind, _)| kind).collect();
    let picture = FrameKind::AccessUnit;
    assert_eq!(kinds, [FrameKind::Parameters, picture, picture, picture]);
    running.end(true);
}

/// Whether a process of this test can confine itself.
fn landlock_answers() -> bool {
    use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetStatus};
    let thread = std::thread::spawn(|| {
        let rules = Ruleset::default()
            .handle_access(AccessFs::Execute)
            .ok()?
            .create()
            .ok()?;
        Some(rules.restrict_self().ok()?.ruleset != RulesetStatus::NotEnforced)
    });
    thread.join().ok().flatten() == Some(true)
}

#[test]
fn a_file_cannot_name_another_file() {
    if !landlock_answers() {
        eprintln!("skipped: this kernel has no landlock");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (playlist, other) = (folder.path().join("list.m3u8"), folder.path().join("other.ts"));
    let source = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25", "-t", "0.4"];
    ffmpeg(&[&source[..], &["-c:v", "libx264", "-bf", "0"]].concat(), &other);
    std::fs::write(
        &playlist,
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    )
    .expect("written");
    // Without a fence FFmpeg follows the name.
    ffmpeg(
        &["-i", playlist.to_str().expect("a path"), "-c", "copy"],
        &folder.path().join("control.ts"),
    );
    let mut running = Running::start(Input::File {
        path: playlist.to_str().expect("a path").into(),
        repeat: false,
    });
    assert!(running.frame().is_none(), "pictures of another file");
    let (ending, words) = running.end(false);
    assert!(
        matches!(ending, Some(Ending::Unsupported | Ending::Unreachable)),
        "{ending:?} {words}"
    );
}

#[test]
fn nobody_reads_its_memory() {
    let mut running = Running::start(Input::TestPicture {
        name: "gate".into(),
        picture: PICTURE,
    });
    running.pictures(1);
    // A process that gives no dumps belongs to root in /proc.
    let memory = std::fs::File::open(format!("/proc/{}/environ", running.process()));
    let owner = std::fs::metadata(format!("/proc/{}/environ", running.process())).expect("it runs");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    let root = rustix::process::geteuid().is_root();
    let mut text = String::new();
    assert!(root || memory.and_then(|mut file| file.read_to_string(&mut text)).is_err());
    running.end(true);
}
