//! The memory of the process: the limit of its cgroup, or the machine's memory.

use std::path::Path;

use crate::units::{GIB, KIB};

/// Upper limit of the default budget.
const MOST: u64 = 2 * GIB;
/// The memory to assume if it is unknown.
const ASSUMED: u64 = GIB;

/// The default of `memory.budget`, bytes: half of the process's memory, at most 2 GiB.
pub(crate) fn default_budget() -> u64 {
    default_budget_below(Path::new("/"))
}

/// The memory that the process may use, bytes; `None` if unknown.
pub(crate) fn memory() -> Option<u64> {
    memory_below(Path::new("/"))
}

/// [`default_budget`] with the kernel's file systems below `root`, for tests.
fn default_budget_below(root: &Path) -> u64 {
    (memory_below(root).unwrap_or(ASSUMED) / 2).min(MOST)
}

fn memory_below(root: &Path) -> Option<u64> {
    let limits = [machine(root), cgroup(root)];
    limits.into_iter().flatten().min()
}

/// `MemTotal`, bytes.
fn machine(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(KIB)
}

/// The smallest limit of the process's cgroup and of those above it, bytes.
///
/// Inside a container the paths of `/proc/self/cgroup` may be those of the host, which do not exist
/// here. Then the root of the mount, the container's own cgroup, has the limit.
fn cgroup(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = text.lines().filter_map(|line| {
        // `ID:controllers:path`; version 2 has no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers
            .split(',')
            .any(|controller| controller == "memory")
        {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        let mount = root.join(mount);
        let own = mount.join(path.trim_start_matches('/'));
        own.ancestors()
            .take_while(|directory| directory.starts_with(&mount))
            .filter_map(|directory| std::fs::read_to_string(directory.join(file)).ok())
            // `max` means no limit.
            .filter_map(|limit| limit.trim().parse::<u64>().ok())
            .min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::units::MIB;

    fn budget(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        default_budget_below(root.path())
    }

    #[test]
    fn half_of_the_smallest_limit() {
        let meminfo = (
            "proc/meminfo",
            "MemTotal:        1048576 kB\nMemFree: 1 kB\n",
        );
        assert_eq!(budget(&[meminfo]), 512 * MIB);
        let two = ("proc/self/cgroup", "0::/kubepods/pod1\n");
        let max = ("sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(budget(&[meminfo, two, max]), 512 * MIB, "no limit");
        let pod = ("sys/fs/cgroup/kubepods/memory.max", "268435456\n");
        let own = ("sys/fs/cgroup/kubepods/pod1/memory.max", "536870912\n");
        assert_eq!(
            budget(&[meminfo, two, max, pod, own]),
            128 * MIB,
            "the limit above counts"
        );
        let container = ("sys/fs/cgroup/memory.max", "134217728\n");
        assert_eq!(
            budget(&[meminfo, two, container]),
            64 * MIB,
            "the path is the host's"
        );
    }

    #[test]
    fn version_1() {
        let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\n");
        let one = (
            "proc/self/cgroup",
            "9:name=systemd:/\n4:cpu,memory:/docker/1\n0::/\n",
        );
        let unlimited = (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(budget(&[meminfo, one, unlimited]), 2 * GIB, "at most 2 GiB");
        let own = (
            "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
            "104857600\n",
        );
        assert_eq!(budget(&[meminfo, one, unlimited, own]), 50 * MIB);
    }

    #[test]
    fn nothing_tells() {
        assert_eq!(budget(&[]), 512 * MIB);
    }
}
