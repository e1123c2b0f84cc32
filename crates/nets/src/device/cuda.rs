//! NVIDIA GPUs, as the driver lists them. The engine panics where there is no driver or no such GPU, so both are looked
//! for beforehand.

use cudarc::driver::CudaContext;

use super::DeviceMemory;

/// GPUs of this machine; none without the driver.
pub(super) fn count() -> usize {
    if !has_driver() {
        return 0;
    }
    let count = CudaContext::device_count().unwrap_or(0);
    usize::try_from(count).unwrap_or(0)
}

pub(super) fn name(index: usize) -> String {
    let name = CudaContext::new(index).and_then(|context| context.name());
    name.unwrap_or_else(|_| "NVIDIA GPU".into())
}

pub(super) fn memory(index: usize) -> Option<DeviceMemory> {
    let (free, total) = CudaContext::new(index)
        .and_then(|context| context.mem_get_info())
        .ok()?;
    Some(DeviceMemory {
        total_bytes: total as u64,
        free_bytes: free as u64,
    })
}

/// Whether the driver's library can be loaded: every other function of it panics if not.
#[allow(unsafe_code, reason = "loading a library runs its start-up code")]
fn has_driver() -> bool {
    // SAFETY: it is the driver of the machine's owner, and is loaded for computing anyway.
    unsafe { cudarc::driver::sys::is_culib_present() }
}
