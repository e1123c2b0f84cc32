//! What this machine's processor is called, and how much memory a process has there.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What can be had now without pushing anybody else out, in bytes.
    pub free_bytes: u64,
}

impl DeviceMemory {
    fn within(self, limit: Self) -> Self {
        Self {
            total_bytes: self.total_bytes.min(limit.total_bytes),
            free_bytes: self.free_bytes.min(limit.free_bytes),
        }
    }
}

/// What this process can have of the machine's memory; less where a control group (a container, for example) is
/// limited to less. `None` where the system is not Linux.
pub(super) fn of_this_process() -> Option<DeviceMemory> {
    let machine = in_meminfo(&read_to_string("/proc/meminfo").ok()?)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_folders(&groups)
        .into_iter()
        .filter_map(|folder| limit(&folder));
    Some(limits.fold(machine, DeviceMemory::within))
}

/// What `/proc/cpuinfo` calls the processor.
pub(super) fn processor_name() -> String {
    let told = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = told.lines().filter_map(|line| line.split_once(':'));
    let name = lines.find(|(field, _)| field.trim() == "model name");
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .into()
}

/// Total and available memory in the form of `/proc/meminfo`.
fn in_meminfo(text: &str) -> Option<DeviceMemory> {
    let bytes = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(field, _)| *field == name)?;
        let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(DeviceMemory {
        total_bytes: bytes("MemTotal")?,
        free_bytes: bytes("MemAvailable")?,
    })
}

/// The folders of the control groups that `/proc/self/cgroup` names and of those around them, which limit them too:
/// of version 2, and of version 1 that for memory.
fn group_folders(groups: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Path::new("/sys/fs/cgroup/memory")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        folders.extend(group.ancestors().map(|group| root.join(group)));
    }
    folders
}

/// The limit of a control group, if it has one. Files that are kept in memory only until somebody needs it count as
/// free.
fn limit(folder: &Path) -> Option<DeviceMemory> {
    let number =
        |name: &str| -> Option<u64> { read_to_string(folder.join(name)).ok()?.trim().parse().ok() };
    let total_bytes = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    let statistics = read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let mut fields = statistics.lines().filter_map(|line| line.split_once(' '));
    let cached = fields
        .find(|(name, _)| matches!(*name, "inactive_file" | "total_inactive_file"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    Some(DeviceMemory {
        total_bytes,
        free_bytes: total_bytes.saturating_sub(used.saturating_sub(cached)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n";
        let expected = DeviceMemory {
            total_bytes: 2 << 20,
            free_bytes: 1 << 20,
        };
        assert_eq!(in_meminfo(text), Some(expected));
        assert_eq!(in_meminfo("MemTotal: 2048 kB\n"), None);
        assert_eq!(in_meminfo("MemTotal: many kB\nMemAvailable: 1 kB\n"), None);
    }

    #[test]
    fn groups_of_both_versions_are_found_with_those_around_them() {
        let found = group_folders("4:cpu,memory:/a/b\n3:cpuset:/\n0::/c\nnonsense\n");
        let root = Path::new("/sys/fs/cgroup");
        let expected = ["memory/a/b", "memory/a", "memory", "c", ""];
        assert_eq!(found, expected.map(|folder| root.join(folder)));
    }

    #[test]
    fn a_group_has_what_its_files_say_less_what_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        assert_eq!(limit(folder.path()), None);
        write("memory.max", "max\n");
        write("memory.current", "600\n");
        assert_eq!(limit(folder.path()), None, "there is no limit");
        write("memory.max", "1000\n");
        write("memory.stat", "anon 500\ninactive_file 100\n");
        let expected = DeviceMemory {
            total_bytes: 1000,
            free_bytes: 500,
        };
        assert_eq!(limit(folder.path()), Some(expected));
    }
}
