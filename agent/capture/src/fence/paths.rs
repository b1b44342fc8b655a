//! Files and TCP ports, by landlock.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::needs::Needs;

/// The newest kernel interface whose rights are known here; older kernels do what they can of it.
const KNOWN: ABI = ABI::V7;

/// Confines the calling thread and all it starts; whether the kernel did so.
pub(crate) fn confine(needs: &Needs) -> bool {
    let status = rules(needs).and_then(|rules| rules.restrict_self());
    status.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

fn rules(needs: &Needs) -> Result<RulesetCreated, RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    for port in &needs.ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let groups: [(_, BitFlags<AccessFs>); 3] = [
        (&needs.read, AccessFs::ReadFile | AccessFs::ReadDir),
        (&needs.list, AccessFs::ReadDir.into()),
        (&needs.devices, device),
    ];
    for (paths, access) in groups {
        for path in paths {
            // What is not there cannot be opened, with or without a rule.
            let Ok(opened) = PathFd::new(path) else { continue };
            let folder = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
            let access = if folder {
                access
            } else {
                access & AccessFs::from_file(KNOWN)
            };
            if !access.is_empty() {
                rules = rules.add_rule(PathBeneath::new(opened, access))?;
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_job_does_not_need_is_out_of_reach() {
        let folder = tempfile::tempdir().expect("a folder");
        let (needed, other) = (folder.path().join("needed"), folder.path().join("other"));
        for path in [&needed, &other] {
            std::fs::write(path, "video").expect("written");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let needs = Needs {
            read: vec![needed.clone(), "/absent".into()],
            ..Needs::default()
        };
        let thread = std::thread::spawn(move || {
            if !confine(&needs) {
                eprintln!("skipped: this kernel has no landlock");
                return;
            }
            assert!(std::fs::read(&needed).is_ok());
            let mine = std::fs::File::options().append(true).open(&needed);
            let doors = [
                std::fs::read(&other).map(drop),
                mine.map(drop),
                std::fs::File::create(other.with_extension("new")).map(drop),
                std::fs::read_dir("/").map(drop),
            ];
            for (door, opened) in doors.into_iter().enumerate() {
                let error = opened.expect_err("closed");
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{door}");
            }
            // Since Linux 6.7.
            assert!(TcpStream::connect(address).is_err(), "no port was given");
        });
        thread.join().expect("the confined thread");
    }
}
