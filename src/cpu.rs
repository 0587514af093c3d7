//! How much CPU and memory this process may use: affinity and cgroup limits, v1 and v2.
//!
//! ONNX Runtime sees neither, and a pool sized for the whole machine starves inside a container.
//! Reads files below a root that is handed in, `/` but for tests; needs no system call of its own,
//! since `/proc/self/status` tells the affinity. What cannot be read counts as no limit.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Component, Path, PathBuf},
    thread,
};

const CGROUP_MOUNT: &str = "sys/fs/cgroup";
/// The memory that is assumed where the system says nothing.
const UNKNOWN_MEMORY_BYTES: usize = 1 << 30;
/// Kernels write "no limit" in v1 as the largest multiple of the page size; nobody has an exbibyte.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// What this process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuBudget {
    /// CPUs the process may be scheduled on.
    pub affinity: usize,
    /// The tightest CPU quota of its cgroups, if any.
    pub quota: Option<CpuQuota>,
    /// The tightest memory limit of its cgroups, if any.
    pub memory: Option<MemoryLimit>,
    /// Threads that keep busy what is allowed: the affinity or the quota rounded up, whichever is less; at least 1.
    pub threads: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CpuQuota {
    /// CPU time per wall-clock time; 1.5 is one and a half CPUs.
    pub cpus: f64,
    /// The file that says so.
    pub source: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// The file that says so.
    pub source: PathBuf,
}

impl CpuBudget {
    /// Reads the budget of this process.
    pub fn of_this_process() -> Self {
        Self::read(Path::new("/"))
    }

    /// Reads the budget as the files below `root` tell it.
    pub fn read(root: &Path) -> Self {
        let affinity = affinity(root).unwrap_or_else(parallelism);
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let folders = |controller| folders_to_root(root, &groups, controller);
        let quota = folders("cpu")
            .iter()
            .filter_map(|folder| cpu_quota(folder))
            .min_by(|one, other| one.cpus.total_cmp(&other.cpus));
        let memory = folders("memory").iter().filter_map(|folder| memory_limit(folder)).min_by_key(|limit| limit.bytes);
        let threads = threads(affinity, quota.as_ref());
        Self { affinity, quota, memory, threads }
    }
}

/// Returns the memory that this process may use, in bytes: the least of its cgroups' limit, its address space
/// (`ulimit -v`) and the machine's memory.
pub fn usable_memory_bytes(root: &Path) -> usize {
    let cgroup = CpuBudget::read(root).memory.map(|limit| limit.bytes);
    let bytes = [cgroup, address_space_bytes(root), machine_memory_bytes(root)].into_iter().flatten().min();
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(UNKNOWN_MEMORY_BYTES)
}

fn address_space_bytes(root: &Path) -> Option<u64> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    // `unlimited` is no number, and no limit.
    line.split_whitespace().next()?.parse().ok()
}

fn machine_memory_bytes(root: &Path) -> Option<u64> {
    let memory = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn threads(affinity: usize, quota: Option<&CpuQuota>) -> usize {
    let whole = |quota: &CpuQuota| (1..affinity).find(|count| *count as f64 >= quota.cpus);
    quota.and_then(whole).unwrap_or(affinity).max(1)
}

/// Counts the CPUs in the list that the kernel writes, such as `0-3,8`.
fn affinity(root: &Path) -> Option<usize> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').map(count).sum()
}

fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Lists the folders of the process's groups for `controller`, from its own up to the mount.
///
/// `groups` is `/proc/self/cgroup`: lines of `id:controllers:path`; v2 has id 0 and no controllers.
fn folders_to_root(root: &Path, groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let is_unified = id == "0" && controllers.is_empty();
        if !is_unified && !controllers.split(',').any(|name| name == controller) {
            continue;
        }
        // In v1 a folder bears the names of all its controllers, and a link that of each. v2 is
        // the mount itself, or its folder `unified` beside v1.
        let mounts = if is_unified { ["", "unified"] } else { [controllers, controller] };
        for mount in mounts {
            folders.extend(ancestors(&root.join(CGROUP_MOUNT).join(mount), Path::new(path)));
        }
    }
    folders
}

/// Lists `mount/path`, then each folder above it, and `mount` last.
///
/// A container may see its path as the host has it, with its own group at the mount: what is not
/// there is passed over by whoever reads. `..` marks a group outside the namespace, and is left out.
fn ancestors(mount: &Path, path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
    let path: PathBuf = names.collect();
    path.ancestors().map(|ancestor| mount.join(ancestor)).collect()
}

fn cpu_quota(folder: &Path) -> Option<CpuQuota> {
    let unified = folder.join("cpu.max");
    if let Ok(text) = fs::read_to_string(&unified) {
        let (quota, period) = text.trim().split_once(' ')?;
        return quota_of(quota, period, unified);
    }
    let source = folder.join("cpu.cfs_quota_us");
    let quota = fs::read_to_string(&source).ok()?;
    let period = fs::read_to_string(folder.join("cpu.cfs_period_us")).ok()?;
    quota_of(quota.trim(), period.trim(), source)
}

/// Divides two numbers of microseconds; `max` and -1 are no quota.
fn quota_of(quota: &str, period: &str, source: PathBuf) -> Option<CpuQuota> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| CpuQuota { cpus: quota / period, source })
}

fn memory_limit(folder: &Path) -> Option<MemoryLimit> {
    ["memory.max", "memory.limit_in_bytes"].into_iter().find_map(|file| {
        let source = folder.join(file);
        let bytes: u64 = fs::read_to_string(&source).ok()?.trim().parse().ok()?;
        (bytes < UNLIMITED_BYTES).then_some(MemoryLimit { bytes, source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a budget from a root that holds `files`, on four CPUs.
    fn budget(files: &[(&str, &str)]) -> CpuBudget {
        let root = tempfile::tempdir().expect("a folder for the test");
        let status = [("proc/self/status", "Name:\tonnxd\nCpus_allowed_list:\t0-2,8\nMems_allowed_list:\t0\n")];
        for (path, text) in status.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut budget = CpuBudget::read(root.path());
        let relative = |path: &Path| path.strip_prefix(root.path()).expect("below the root").to_owned();
        if let Some(quota) = &mut budget.quota {
            quota.source = relative(&quota.source);
        }
        if let Some(memory) = &mut budget.memory {
            memory.source = relative(&memory.source);
        }
        budget
    }

    fn quota(files: &[(&str, &str)]) -> Option<(f64, String, usize)> {
        let budget = budget(files);
        budget.quota.map(|quota| (quota.cpus, quota.source.display().to_string(), budget.threads))
    }

    #[test]
    fn without_cgroups_the_affinity_decides() {
        assert_eq!(budget(&[]), CpuBudget { affinity: 4, quota: None, memory: None, threads: 4 });
    }

    #[test]
    fn usable_memory_is_the_least_of_its_limits() {
        let usable = |files: &[(&str, &str)]| {
            let root = tempfile::tempdir().expect("a folder for the test");
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            usable_memory_bytes(root.path())
        };
        let machine = ("proc/meminfo", "MemTotal:        2097152 kB\nMemFree: 1 kB\n");
        let limits = |bytes| {
            format!("Max cpu time  unlimited  unlimited  seconds\nMax address space  {bytes}  unlimited  bytes\n")
        };
        let (unlimited, limited) = (limits("unlimited"), limits("1073741824"));
        let cgroup = [("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")];
        assert_eq!(usable(&[]), UNKNOWN_MEMORY_BYTES);
        assert_eq!(usable(&[machine, ("proc/self/limits", &unlimited)]), 2 << 30);
        assert_eq!(usable(&[machine, ("proc/self/limits", &limited)]), 1 << 30);
        assert_eq!(usable(&[machine, ("proc/self/limits", &limited), cgroup[0], cgroup[1]]), 512 << 20);
    }

    #[test]
    fn a_quota_rounds_up_to_whole_threads_within_the_affinity() {
        let cases = [
            ("5000 100000", 0.05, 1),
            ("100000 100000", 1.0, 1),
            ("150000 100000", 1.5, 2),
            ("400000 100000", 4.0, 4),
            ("1600000 100000", 16.0, 4),
        ];
        for (text, cpus, threads) in cases {
            let files = [("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", text)];
            assert_eq!(quota(&files), Some((cpus, "sys/fs/cgroup/cpu.max".to_owned(), threads)), "{text}");
        }
    }

    #[test]
    fn the_tightest_group_up_to_the_root_counts() {
        let files = [
            ("proc/self/cgroup", "0::/kubepods/pod/container\n"),
            ("sys/fs/cgroup/kubepods/pod/container/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/kubepods/pod/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/kubepods/cpu.max", "300000 100000\n"),
            ("sys/fs/cgroup/kubepods/pod/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/kubepods/memory.max", "max\n"),
        ];
        assert_eq!(quota(&files), Some((2.0, "sys/fs/cgroup/kubepods/pod/cpu.max".to_owned(), 2)));
        assert_eq!(budget(&files).memory.map(|limit| limit.bytes), Some(1 << 30));
    }

    #[test]
    fn version_1_is_read_by_any_of_its_folder_names() {
        for folder in ["cpu,cpuacct", "cpu"] {
            let quota_file = format!("sys/fs/cgroup/{folder}/job/cpu.cfs_quota_us");
            let period_file = format!("sys/fs/cgroup/{folder}/job/cpu.cfs_period_us");
            let files = [
                ("proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n"),
                (&*quota_file, "250000\n"),
                (&*period_file, "100000\n"),
                ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ];
            assert_eq!(quota(&files), Some((2.5, quota_file.clone(), 3)));
            let source = "sys/fs/cgroup/memory/memory.limit_in_bytes".into();
            assert_eq!(budget(&files).memory, Some(MemoryLimit { bytes: 512 << 20, source }));
        }
    }

    #[test]
    fn a_container_that_sees_the_hosts_path_finds_its_group_at_the_mount() {
        let files = [
            ("proc/self/cgroup", "5:cpu:/docker/0123abcd\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n"),
        ];
        assert_eq!(quota(&files), Some((2.0, "sys/fs/cgroup/cpu/cpu.cfs_quota_us".to_owned(), 2)));
    }

    #[test]
    fn what_says_no_limit_or_nonsense_is_no_limit() {
        let unlimited: [&[(&str, &str)]; 4] = [
            &[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/cpu.max", "max 100000\n")],
            &[
                ("proc/self/cgroup", "1:cpu:/\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            &[("proc/self/cgroup", "0::/../outside\n"), ("sys/fs/outside/cpu.max", "1 2\n")],
            &[("proc/self/cgroup", "nonsense\n0::/\n"), ("sys/fs/cgroup/cpu.max", "\n")],
        ];
        for files in unlimited {
            assert_eq!(quota(files), None, "{files:?}");
        }
    }

    #[test]
    fn this_process_may_use_something() {
        let budget = CpuBudget::of_this_process();
        assert!((1..=budget.affinity).contains(&budget.threads), "{budget:?}");
    }
}
