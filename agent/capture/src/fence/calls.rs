//! System calls, by seccomp.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

use super::needs::Needs;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Never needed: other programs, other processes, other ways into the kernel.
const NEVER: [c_long; 25] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_chroot,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
];

/// What decoding, encoding and writing to a pipe need, clocks included, and the first steps of threads that were started just
/// before: the C library ends the process where it cannot register their `rseq`.
const ALWAYS: [c_long; 27] = [
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_getaffinity,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Reading on in a file.
const FILES: [c_long; 2] = [libc::SYS_lseek, libc::SYS_fstat];

/// Opening a file again, or a driver's, and starting a decoder's and an encoder's threads for it.
const REOPEN: [c_long; 8] = [
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fcntl,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
    libc::SYS_dup,
];

/// Talking to a device.
const DEVICES: [c_long; 2] = [libc::SYS_ioctl, libc::SYS_ppoll];

/// Going on with a connection; `sendto` comes with a condition.
const CONNECTION: [c_long; 5] = [
    libc::SYS_recvfrom,
    libc::SYS_ppoll,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// The older form of `ppoll`, which newer processors never had.
#[cfg(target_arch = "x86_64")]
const POLL: Option<c_long> = Some(libc::SYS_poll);
#[cfg(not(target_arch = "x86_64"))]
const POLL: Option<c_long> = None;

/// Refuses what no job needs; `None` where such filters do not exist.
pub(crate) fn before_the_first_picture(needs: &Needs) -> Option<BpfProgram> {
    let mut rules: Rules = NEVER.into_iter().map(|call| (call, Vec::new())).collect();
    // Names are looked up over these; a packet socket or anything more exotic is not a camera's.
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];
    let socket = if needs.network() {
        let others = families.map(|family| argument(0, SeccompCmpOp::Ne, family as u64));
        vec![SeccompRule::new(others.into_iter().collect::<Option<_>>()?).ok()?]
    } else {
        Vec::new()
    };
    rules.insert(libc::SYS_socket, socket);
    program(rules, SeccompAction::Allow, refusal())
}

/// Leaves what goes on after the first picture.
pub(crate) fn after_the_first_picture(needs: &Needs) -> Option<BpfProgram> {
    let mut calls: Vec<c_long> = ALWAYS.into();
    if !needs.read.is_empty() || !needs.devices.is_empty() {
        calls.extend(FILES);
    }
    if needs.reopens {
        calls.extend(REOPEN);
    }
    if !needs.devices.is_empty() {
        calls.extend(DEVICES);
        calls.extend(POLL);
    }
    if needs.network() {
        calls.extend(CONNECTION);
        calls.extend(POLL);
    }
    let mut rules: Rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    if needs.network() {
        // Without an address it goes to the other end of the connection and nowhere else.
        let connected = SeccompRule::new(vec![argument(4, SeccompCmpOp::Eq, 0)?]).ok()?;
        rules.insert(libc::SYS_sendto, vec![connected]);
    }
    program(rules, refusal(), SeccompAction::Allow)
}

/// Applies to every thread of the process; `None` if the kernel does not.
pub(crate) fn confine_all_threads(program: &BpfProgram) -> Option<()> {
    apply_filter_all_threads(program).ok()
}

fn refusal() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM as u32)
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Option<SeccompCondition> {
    // Families are `int`: what stands in the upper half of the register means nothing.
    let length = match operator {
        SeccompCmpOp::Ne => SeccompCmpArgLen::Dword,
        _ => SeccompCmpArgLen::Qword,
    };
    SeccompCondition::new(index, length, operator, value).ok()
}

fn program(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Option<BpfProgram> {
    let processor = std::env::consts::ARCH.try_into().ok()?;
    SeccompFilter::new(rules, otherwise, listed, processor)
        .ok()?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::process::Command;

    use seccompiler::apply_filter;

    use super::*;

    /// Runs `body` in a thread that alone lives under the filter.
    fn under(program: Option<BpfProgram>, body: impl FnOnce() + Send + 'static) {
        let program = program.expect("a filter for this processor");
        let thread = std::thread::spawn(move || {
            if apply_filter(&program).is_err() {
                eprintln!("skipped: this kernel has no seccomp filters");
                return;
            }
            body();
        });
        thread.join().expect("the confined thread");
    }

    fn refused<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
    }

    fn network() -> Needs {
        Needs {
            ports: vec![554],
            ..Needs::default()
        }
    }

    #[test]
    fn from_the_start_there_are_no_programs_and_only_cameras_have_sockets() {
        under(before_the_first_picture(&Needs::default()), || {
            assert!(refused(UdpSocket::bind("127.0.0.1:0")));
            assert!(refused(TcpStream::connect("127.0.0.1:9")));
            assert!(Command::new("/bin/true").status().is_err());
            assert!(std::fs::metadata("/").is_ok());
        });
        under(before_the_first_picture(&network()), || {
            assert!(!refused(TcpStream::connect("127.0.0.1:9")));
            assert!(refused(TcpListener::bind("127.0.0.1:0")));
            assert!(Command::new("/bin/true").status().is_err());
        });
    }

    #[test]
    fn after_the_first_picture_a_connection_goes_on_and_no_new_one_begins() {
        use std::io::{Read, Write};
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut near = TcpStream::connect(address).expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        under(after_the_first_picture(&network()), move || {
            near.write_all(b"GET_PARAMETER").expect("a connection goes on");
            assert!(refused(TcpStream::connect(address)));
            assert!(refused(UdpSocket::bind("127.0.0.1:0")));
            assert!(refused(datagrams.send_to(b"secret", address)));
            assert!(refused(std::fs::File::open("/etc/hostname")));
        });
        let mut heard = [0; 13];
        far.read_exact(&mut heard).expect("heard");
    }

    #[test]
    fn a_made_up_picture_has_nothing_but_its_pipes() {
        under(after_the_first_picture(&Needs::default()), || {
            assert!(refused(std::fs::File::open("/etc/hostname")));
            assert!(refused(TcpStream::connect("127.0.0.1:9")));
            assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        });
    }
}
