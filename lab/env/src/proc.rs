//! Reading processes: identity that survives reuse of a pid, CPU time, memory, marks in the environment. From `/proc`; where there
//! is none every reading is an error. Signals are sent here too, because only a verified identity may receive one.

use std::fmt;
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// The variable that carries the run's id into owned processes.
pub const LAB_RUN: &str = "LAB_RUN";
/// The variable that carries the installation's id.
pub const LAB_OWNER: &str = "LAB_OWNER";
/// The variable that carries the lab's name.
pub const LAB_NAME: &str = "LAB_NAME";

/// One process and no other: a pid that is reused has another start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads since its start, ended ones included, nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

/// What an owned process carries in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// `LAB_RUN`.
    pub run: Option<String>,
    /// `LAB_OWNER`.
    pub owner: Option<String>,
    /// `LAB_NAME`.
    pub lab: Option<String>,
}

/// The fields of `/proc/<pid>/stat` that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: u8,
    group: u32,
    cpu_ticks: u64,
    start_ticks: u64,
    rss_pages: u64,
}

impl fmt::Display for ProcessRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

impl ProcessRef {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: stat(pid)?.start_ticks })
    }

    /// This process.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// True while it runs; a zombie does not.
    pub fn is_alive(self) -> bool {
        self.stat().is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
    }

    /// Its process group.
    ///
    /// # Errors
    /// It is gone.
    pub fn group(self) -> io::Result<u32> {
        Ok(self.stat()?.group)
    }

    /// What it has used.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(self) -> io::Result<Usage> {
        let usage = usage(self.pid)?;
        // Read after the clock, so that a pid reused in between is noticed.
        self.stat()?;
        Ok(usage)
    }

    /// CPU time alone, nanoseconds: one system call where the kernel has a clock for each process.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu_ns(self) -> io::Result<u64> {
        cpu_clock(self.pid).or_else(|_| Ok(ticks_to_ns(self.stat()?.cpu_ticks)))
    }

    /// Sends a signal to it alone. False: it is gone.
    ///
    /// # Errors
    /// It belongs to somebody else.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        self.send(signal, kill_process)
    }

    /// Sends a signal to the group that it leads. False: it is gone, or leads none.
    ///
    /// # Errors
    /// It belongs to somebody else.
    pub fn signal_group(self, signal: Signal) -> io::Result<bool> {
        if self.group().is_ok_and(|group| group == self.pid) {
            self.send(signal, kill_process_group)
        } else {
            Ok(false)
        }
    }

    fn send(self, signal: Signal, how: impl Fn(Pid, Signal) -> rustix::io::Result<()>) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        if !self.is_alive() {
            return Ok(false);
        }
        match how(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn stat(self) -> io::Result<Stat> {
        let stat = stat(self.pid)?;
        if stat.start_ticks == self.start_ticks { Ok(stat) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// What the process that has this pid now has used.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = stat(pid)?;
    let cpu_ns = cpu_clock(pid).unwrap_or_else(|_| ticks_to_ns(stat.cpu_ticks));
    Ok(Usage { cpu_ns, rss_bytes: stat.rss_pages * rustix::param::page_size() as u64 })
}

/// Every running process of this user whose marks are wanted, this one excepted.
///
/// # Errors
/// `/proc` cannot be listed.
pub fn marked(wanted: impl Fn(&Marks) -> bool) -> io::Result<Vec<(ProcessRef, Marks)>> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Processes that end while they are looked at, and those of other users, are none of ours.
        let (Ok(process), Ok(environ)) = (ProcessRef::of(pid), fs::read(format!("/proc/{pid}/environ"))) else {
            continue;
        };
        let marks = Marks::read(&environ);
        if pid != own && wanted(&marks) && process.is_alive() {
            found.push((process, marks));
        }
    }
    Ok(found)
}

impl Marks {
    fn read(environ: &[u8]) -> Self {
        let value = |name: &str| {
            environ.split(|byte| *byte == 0).find_map(|entry| {
                let text = std::str::from_utf8(entry).ok()?;
                text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
            })
        };
        Self { run: value(LAB_RUN), owner: value(LAB_OWNER), lab: value(LAB_NAME) }
    }
}

fn stat(pid: u32) -> io::Result<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat"))?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The second field is the command in parentheses and may hold anything, also spaces and parentheses.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `fields[0]` is field 3 of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        group: u32::try_from(number(5)?).ok()?,
        cpu_ticks: number(14)? + number(15)?,
        start_ticks: number(22)?,
        rss_pages: number(24)?,
    })
}

fn ticks_to_ns(ticks: u64) -> u64 {
    ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// The kernel's CPU clock of a whole process, to the nanosecond, where ticks are worth ten milliseconds.
#[cfg(target_os = "linux")]
fn cpu_clock(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for the result.
    let failed = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

#[cfg(not(target_os = "linux"))]
fn cpu_clock(_pid: u32) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_look_like_fields() {
        let line = b"42 (a) R 7 (x) S 1 42 42 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 987654 1000000 321 18446744073709551615";
        let stat = parse_stat(line).unwrap();
        let expected = Stat { state: b'S', group: 42, cpu_ticks: 300, start_ticks: 987_654, rss_pages: 321 };
        assert_eq!(stat, expected);
        assert_eq!(parse_stat(b"42 (cut"), None);
    }

    #[test]
    fn own_use_rises_and_counts_threads_that_ended() {
        let own = ProcessRef::current().unwrap();
        let before = own.usage().unwrap();
        std::thread::spawn(|| {
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        })
        .join()
        .unwrap();
        let after = own.usage().unwrap();
        assert!(after.cpu_ns > before.cpu_ns + 1_000_000, "{before:?} {after:?}");
        assert!(after.rss_bytes > 1 << 20);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let own = ProcessRef::current().unwrap();
        let other = ProcessRef { start_ticks: own.start_ticks + 1, ..own };
        assert!(own.is_alive() && !other.is_alive());
        assert!(!other.signal(Signal::KILL).unwrap(), "nothing is sent to it");
        assert!(other.usage().is_err());
    }

    #[test]
    fn marks_are_read_whole() {
        let marks = Marks::read(b"PATH=/bin\0LAB_RUN=r1\0XLAB_OWNER=no\0LAB_OWNER=me\0LAB_NAMES=x\0");
        let expected = Marks { run: Some("r1".to_owned()), owner: Some("me".to_owned()), lab: None };
        assert_eq!(marks, expected);
    }
}
