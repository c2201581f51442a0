//! System-call filters: a list of what the zygote may not do, and a much shorter one of what a child may.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, sock_filter};

use super::Layer;
use super::allow_list::{self, Allowed, Condition};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

const DENIED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// Applies the first filter to this process: what neither Python nor its children ever need.
pub(super) fn confine_zygote() -> Layer {
    match zygote_filters().and_then(|filters| {
        filters
            .iter()
            .try_for_each(|filter| seccompiler::apply_filter(filter).map_err(|error| error.to_string()))
    }) {
        Ok(()) => Layer::active("seccomp", "no sockets, tracing, mounts, namespaces, kernel interfaces"),
        Err(error) => Layer::missing("seccomp", error),
    }
}

/// Stands in the second filter for the number of the process that installs it, which that process puts there.
pub(super) const OWN_PID: u32 = 0x7f0c_a11d;

/// The second filter as bytes of `struct sock_filter`, in hexadecimal: the child installs it by itself, between
/// its fork and the program. Empty where this processor has no filter. `scratch`: whether it may write files;
/// which ones, other layers say.
pub(super) fn child_filter_hex(scratch: bool) -> String {
    let Some(program) = child_filter(scratch) else { return String::new() };
    let mut text = String::with_capacity(program.len() * 16);
    for step in program {
        let mut bytes = [0u8; 8];
        bytes[..2].copy_from_slice(&step.code.to_ne_bytes());
        bytes[2] = step.jt;
        bytes[3] = step.jf;
        bytes[4..].copy_from_slice(&step.k.to_ne_bytes());
        for byte in bytes {
            text.push_str(&format!("{byte:02x}"));
        }
    }
    text
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    SeccompFilter::new(rules, otherwise, matched, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

fn plain(calls: &[i64]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn zygote_filters() -> Result<[BpfProgram; 3], String> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut denied = plain(&[
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_mount_setattr,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_fsconfig,
        libc::SYS_fspick,
        libc::SYS_mknodat,
        libc::SYS_pidfd_send_signal,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
        libc::SYS_seccomp,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
        libc::SYS_personality,
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_semget,
        libc::SYS_semop,
        libc::SYS_semctl,
        libc::SYS_msgget,
        libc::SYS_msgsnd,
        libc::SYS_msgrcv,
        libc::SYS_msgctl,
        libc::SYS_mq_open,
        libc::SYS_mq_unlink,
        libc::SYS_mbind,
        libc::SYS_set_mempolicy,
        libc::SYS_migrate_pages,
        libc::SYS_move_pages,
        libc::SYS_fanotify_init,
        libc::SYS_vhangup,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_capset,
        libc::SYS_syslog,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_memfd_create,
    ]);
    #[cfg(target_arch = "x86_64")]
    denied.extend(plain(&[
        libc::SYS_mknod,
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_modify_ldt,
        libc::SYS_kexec_file_load,
    ]));
    // A filter cannot see clone3's flags; told that it does not exist, the C library falls back to clone.
    let unknown = plain(&[libc::SYS_clone3, libc::SYS_openat2]);
    // The last one takes away what the others are installed with.
    Ok([
        no_second_table(),
        compile(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?,
        compile(denied, SeccompAction::Allow, DENIED)?,
    ])
}

/// Denies the x32 numbers of system calls, by which a list of what is denied could be evaded.
fn no_second_table() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    let load_number = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let skip_next_below = sock_filter { code: 0x35, jt: 0, jf: 1, k: X32 };
    let deny = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x0005_0000 | libc::EPERM as u32 };
    let allow = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };
    vec![load_number, skip_next_below, deny, allow]
}

fn masked(argument: u32, mask: u64, value: u64) -> Condition {
    Condition { argument, mask, value }
}

fn equal(argument: u32, value: u64) -> Condition {
    masked(argument, u64::MAX, value)
}

fn always(calls: &[i64]) -> Allowed {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// Flags of `clone(2)` that ask for a new namespace.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

/// What a program with a scratch space may call beside the rest. No links of any kind.
const SCRATCH_CALLS: [i64; 18] = [
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
    libc::SYS_flock,
];
#[cfg(target_arch = "x86_64")]
const SCRATCH_CALLS_X86: [i64; 8] = [
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_utime,
];

fn child_filter(scratch: bool) -> Option<BpfProgram> {
    let mut rules = always(&[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_fstatfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_getcwd,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        // Refused by the first filter with ENOSYS; EPERM would keep the C library from falling back.
        libc::SYS_clone3,
        libc::SYS_openat2,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_times,
        libc::SYS_getrusage,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_getppid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_uname,
        libc::SYS_sysinfo,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_recvfrom,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.extend(always(&[
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_getdents,
        libc::SYS_dup2,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_wait,
        libc::SYS_time,
        libc::SYS_arch_prctl,
    ]));
    // A process may raise a signal for itself, as `abort` and a crash handler do, not for another.
    rules.insert(libc::SYS_tgkill, vec![vec![equal(0, u64::from(OWN_PID))]]);
    // Threads, but no processes, and no namespaces for them.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![vec![masked(0, thread | NAMESPACES, thread)]]);
    // Not the commands that send signals, to whomever, when something happens to a file.
    let mut commands = vec![
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
    ];
    if scratch {
        rules.extend(always(&SCRATCH_CALLS));
        #[cfg(target_arch = "x86_64")]
        rules.extend(always(&SCRATCH_CALLS_X86));
        commands.extend([libc::F_GETLK, libc::F_SETLK, libc::F_SETLKW]);
    } else {
        // Files only for reading.
        let writing =
            (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND | 0o20_000_000) as u64;
        rules.insert(libc::SYS_openat, vec![vec![masked(2, writing, 0)]]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, vec![vec![masked(1, writing, 0)]]);
    }
    let commands = commands.into_iter().map(|command| vec![masked(1, 0xffff_ffff, command as u64)]);
    rules.insert(libc::SYS_fcntl, commands.collect());
    // Limits may be asked for, not set.
    rules.insert(libc::SYS_prlimit64, vec![vec![equal(0, 0), equal(2, 0)]]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_getrlimit, Vec::new());
    // Questions about terminals, and the non-blocking flag.
    let ioctls = [0x5401u64, 0x5413, 0x5421, 0x5450, 0x5451, 0x541b];
    let ioctls = ioctls.into_iter().map(|request| vec![masked(1, 0xffff_ffff, request)]);
    rules.insert(libc::SYS_ioctl, ioctls.collect());
    // asyncio wakes itself through a pair of connected sockets. Stream pairs lead nowhere else.
    rules.insert(
        libc::SYS_socketpair,
        vec![vec![equal(0, libc::AF_UNIX as u64), masked(1, 0xff, libc::SOCK_STREAM as u64)]],
    );
    rules.insert(libc::SYS_sendto, vec![vec![equal(4, 0)]]);
    allow_list::compile(&rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_fit_the_kernel() {
        // The kernel takes at most 4096 instructions of 8 bytes. A child installs its own at every execution.
        let own: String = OWN_PID.to_ne_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        for hex in [false, true].map(child_filter_hex) {
            assert_eq!(hex.matches(&own).count(), 1, "the place of the process's own number");
            assert!(!hex.is_empty() && hex.len().is_multiple_of(16) && hex.len() / 16 < 400, "{}", hex.len());
        }
        assert!(zygote_filters().unwrap().iter().all(|filter| filter.len() < 4096));
    }
}
