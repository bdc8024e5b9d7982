//! Control groups with a CPU quota, version 1 or 2, wherever this process may make one. One flat group a replica, named after the
//! installation so that only ours are ever removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lab_core::unit::Millicores;

use super::PERIOD;
use crate::proc::ProcessRef;
use crate::sweep::group_prefix;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A place where groups can be made.
#[derive(Debug)]
pub(in crate::local) struct Cgroups {
    version: Version,
    base: PathBuf,
    prefix: String,
}

/// The group of one replica. Removed by its name, as it stands in the ledger.
#[derive(Debug)]
pub(in crate::local) struct Group {
    version: Version,
    path: PathBuf,
}

/// One line of `/proc/self/mountinfo` that is a control group hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    root: PathBuf,
    point: PathBuf,
}

impl Cgroups {
    /// Finds the nearest place, from this process's own group upwards, by making a limited group there and removing it.
    ///
    /// # Errors
    /// Why the nearest place refused.
    pub(in crate::local) fn find(owner: &str) -> io::Result<Self> {
        let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo")?);
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mut refusal = io::Error::new(io::ErrorKind::NotFound, "no hierarchy with the CPU controller is mounted");
        for mount in &mounts {
            let Some(own) = own_group(&own, mount.version) else { continue };
            for base in places(mount, &own) {
                let found = Self { version: mount.version, base, prefix: group_prefix(owner) };
                match found.try_out() {
                    Ok(()) => return Ok(found),
                    Err(error) => refusal = error,
                }
            }
        }
        Err(refusal)
    }

    pub(super) fn version(&self) -> &'static str {
        match self.version {
            Version::One => "control group v1",
            Version::Two => "control group v2",
        }
    }

    pub(super) fn path(&self, lab: &str, replica: &str) -> PathBuf {
        self.base.join(format!("{}{lab}-{replica}", self.prefix))
    }

    /// Makes the group and moves the process into it, with all its threads.
    pub(super) fn put(&self, path: &Path, process: ProcessRef, limit: Millicores) -> io::Result<Group> {
        self.make(path, limit)?;
        fs::write(path.join("cgroup.procs"), process.pid.to_string())?;
        Ok(Group { version: self.version, path: path.to_owned() })
    }

    fn make(&self, path: &Path, limit: Millicores) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let period = u64::try_from(PERIOD.as_micros()).unwrap_or(u64::MAX);
        // The kernel takes no quota under a millisecond.
        let quota = (limit.0 * period / 1000).max(1000);
        match self.version {
            Version::One => {
                fs::write(path.join("cpu.cfs_period_us"), period.to_string())?;
                fs::write(path.join("cpu.cfs_quota_us"), quota.to_string())
            }
            Version::Two => fs::write(path.join("cpu.max"), format!("{quota} {period}")),
        }
    }

    fn try_out(&self) -> io::Result<()> {
        // Moving a process needs the right to write the members of a common ancestor too.
        rustix::fs::access(self.base.join("cgroup.procs"), rustix::fs::Access::WRITE_OK)?;
        let path = self.base.join(format!("{}try-{}-{}", self.prefix, std::process::id(), next_try()));
        let made = self.make(&path, Millicores(1000));
        let removed = fs::remove_dir(&path);
        made.and(removed)
    }
}

/// Distinguishes attempts of several threads of this process.
fn next_try() -> u64 {
    static TRIES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    TRIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

impl Group {
    /// From `cpu.stat`: nanoseconds in version 1, microseconds in version 2.
    pub(super) fn throttled_ns(&self) -> Option<u64> {
        let text = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        let (field, scale) = match self.version {
            Version::One => ("throttled_time", 1),
            Version::Two => ("throttled_usec", 1000),
        };
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|(name, _)| *name == field)?.1;
        value.trim().parse::<u64>().ok().map(|value| value * scale)
    }
}

/// Hierarchies that have or may have the CPU controller.
fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

/// `36 35 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu`: root and point are fields 4 and 5.
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let version = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => Version::Two,
        ("cgroup", options) if options.split(',').any(|option| option == "cpu") => Version::One,
        _ => return None,
    };
    Some(Mount { version, root: root.into(), point: point.into() })
}

/// This process's group in a hierarchy, from lines such as `1:cpu,cpuacct:/a` and `0::/b`.
fn own_group(text: &str, version: Version) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let found = match version {
            Version::One => controllers.split(',').any(|controller| controller == "cpu"),
            Version::Two => controllers.is_empty(),
        };
        found.then(|| path.into())
    })
}

/// Own group first, then its parents up to the hierarchy's root. In version 2 a group with processes cannot have limited children, so
/// a parent is the usual find.
fn places(mount: &Mount, own: &Path) -> Vec<PathBuf> {
    let inside = own.strip_prefix(&mount.root).or_else(|_| own.strip_prefix("/")).unwrap_or(own);
    let nearest = mount.point.join(inside);
    let places = nearest.ancestors().take_while(|place| place.starts_with(&mount.point)).map(Path::to_owned);
    places.filter(|place| place.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_told_apart() {
        let text = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    31 25 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                    32 25 0:28 /docker/1 /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
                    33 25 0:29 / /proc rw - proc proc rw\n";
        let found = mounts(text);
        let one = Mount { version: Version::One, root: "/".into(), point: "/sys/fs/cgroup/cpu".into() };
        let two = Mount { version: Version::Two, root: "/docker/1".into(), point: "/sys/fs/cgroup/unified".into() };
        assert_eq!(found, [one, two]);
        let own = "4:cpu,cpuacct:/user\n3:cpuset:/other\n0::/docker/1/leaf\n";
        assert_eq!(own_group(own, Version::One), Some("/user".into()));
        assert_eq!(own_group(own, Version::Two), Some("/docker/1/leaf".into()));
        assert_eq!(own_group("3:cpuset:/x\n", Version::Two), None);
    }

    #[test]
    fn places_go_from_the_own_group_up_to_the_mount() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let mount = Mount { version: Version::Two, root: "/docker/1".into(), point: folder.path().to_owned() };
        let found = places(&mount, Path::new("/docker/1/a/b"));
        assert_eq!(found, [folder.path().join("a/b"), folder.path().join("a"), folder.path().to_owned()]);
    }
}
