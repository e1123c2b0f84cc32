//! AMD GPUs, as the kernel's compute driver lists them.

use std::fs::{read_dir, read_to_string};

/// GPUs of this machine. The processor is a node of the list too, with zero in place of a GPU's number.
pub(super) fn count() -> usize {
    let Ok(nodes) = read_dir("/sys/class/kfd/kfd/topology/nodes") else {
        return 0;
    };
    let gpu_id = |node: std::io::Result<std::fs::DirEntry>| {
        read_to_string(node.ok()?.path().join("gpu_id")).ok()
    };
    let ids = nodes.filter_map(gpu_id);
    ids.filter(|id| id.trim() != "0").count()
}
