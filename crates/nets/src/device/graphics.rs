//! The GPU behind Vulkan, Metal or WebGPU. The engine panics where there is none, so it is looked for beforehand.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::DeviceKind;

/// What `--device` calls it.
pub(super) const API: &str = if cfg!(feature = "vulkan") {
    "vulkan"
} else if cfg!(feature = "metal") {
    "metal"
} else {
    "webgpu"
};

/// The adapter that the engine takes: the one with the most power.
pub(super) fn adapter() -> Option<wgpu::AdapterInfo> {
    // What the engine asks on these systems, also for WebGPU.
    let backends = match cfg!(target_os = "macos") {
        true => wgpu::Backends::METAL,
        false => wgpu::Backends::VULKAN,
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = wait_for(instance.enumerate_adapters(backends));
    let infos = adapters.iter().map(wgpu::Adapter::get_info);
    infos.min_by_key(|info| match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    })
}

pub(super) fn kind() -> DeviceKind {
    match adapter().map(|info| info.device_type) {
        Some(wgpu::DeviceType::Cpu) => DeviceKind::Software,
        _ => DeviceKind::Gpu,
    }
}

pub(super) fn name() -> String {
    adapter().map_or_else(|| "GPU".into(), |info| info.name)
}

/// The result of a future that waits for nothing: outside browsers, adapters are listed at once.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
