//! Which machine computes. Everything that names a backend of the engine stands in this folder.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "wgpu")]
mod graphics;
mod memory;
mod process;
#[cfg(feature = "rocm")]
mod rocm;

use std::fmt;
use std::str::FromStr;

use burn::backend::Autodiff;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use serde::Serialize;

pub use memory::DeviceMemory;

use crate::error::Error;
use crate::kernels::TrackingBackend;
use crate::precision::Precision;

/// A device to compute on. One that is [parsed](FromStr) or [listed](Device::here) exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[cfg(feature = "cpu")]
    Cpu,
    /// A GPU through Vulkan, Metal or WebGPU, whichever the system has.
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// An NVIDIA GPU by number.
    #[cfg(feature = "cuda")]
    Cuda(usize),
    /// An AMD GPU by number.
    #[cfg(feature = "rocm")]
    Rocm(usize),
}

/// The engine's backend over wgpu. Vulkan and Metal store booleans in bytes, WebGPU in words.
#[cfg(all(any(feature = "vulkan", feature = "metal"), not(feature = "webgpu")))]
type Wgpu = burn::backend::Wgpu<f32, i32, u8>;
#[cfg(feature = "webgpu")]
type Wgpu = burn::backend::Wgpu<f32, i32, u32>;

/// Work that is written once for every backend. A closure cannot be generic, hence a trait.
pub trait OnDevice {
    /// What the work gives.
    type Output;

    /// Does the work on a device of the tracking backend `B`; `B::InnerBackend` is the plain one
    /// on the same device.
    fn run<B: TrackingBackend>(self, device: &B::Device) -> Self::Output;
}

/// Makes this process one in which computing is fast. A program calls it once, first of all, on the thread that will
/// compute.
///
/// On the CPU, the calling thread becomes one of those that kernels share their work among. Any other thread hands every
/// operation over and sleeps until it is done, and a pass of a small network is hundreds of small operations. (The thread stays
/// outside if it would be the only one, or if other threads are at work already.)
///
/// On GPUs, kernels that were compiled once are read from disk in later processes.
pub fn prepare_process() {
    #[cfg(feature = "cpu")]
    process::join_workers();
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
    process::keep_compiled_kernels();
}

/// What kind of machine a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor, through this program's own kernels.
    Cpu,
    /// A GPU.
    Gpu,
    /// The processor behind a GPU's interface: for tests, and far slower than the processor itself.
    Software,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Software => "software",
        })
    }
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// What `--device` calls it.
    pub device: String,
    /// What its maker calls it.
    pub name: String,
    /// What kind of machine it is.
    pub kind: DeviceKind,
    /// Its memory, where that can be asked for.
    pub memory: Option<DeviceMemory>,
    /// Number formats that it computes in.
    pub dtypes: Vec<Precision>,
}

impl Device {
    /// Does work on this device.
    pub fn run<T: OnDevice>(self, work: T) -> T::Output {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => work.run::<Autodiff<burn_flex::Flex>>(&burn_flex::FlexDevice),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => work.run::<Autodiff<Wgpu>>(&burn::backend::wgpu::WgpuDevice::default()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => work.run::<Autodiff<burn::backend::Cuda<f32, i32>>>(
                &burn::backend::cuda::CudaDevice::new(index),
            ),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => work.run::<Autodiff<burn::backend::Rocm<f32, i32>>>(
                &burn::backend::rocm::RocmDevice::new(index),
            ),
        }
    }

    /// The devices of this build that this machine has, the fastest kind first.
    #[allow(
        clippy::vec_init_then_push,
        reason = "which are pushed depends on the build"
    )]
    pub fn here() -> Vec<Self> {
        let mut devices = Vec::new();
        #[cfg(feature = "cuda")]
        devices.extend((0..cuda::count()).map(Self::Cuda));
        #[cfg(feature = "rocm")]
        devices.extend((0..rocm::count()).map(Self::Rocm));
        #[cfg(feature = "wgpu")]
        devices.extend(graphics::adapter().map(|_| Self::Wgpu));
        #[cfg(feature = "cpu")]
        devices.push(Self::Cpu);
        devices
    }

    /// The fastest device of this build that this machine has: a GPU, else the processor. A GPU that is only
    /// [software](DeviceKind::Software) is taken if there is nothing else.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if there is none, as in a build for GPUs alone on a machine without one.
    pub fn auto() -> Result<Self, Error> {
        let devices = Self::here();
        let is_software = |device: &&Self| device.kind() == DeviceKind::Software;
        let best = devices.iter().find(|device| !is_software(device));
        best.or(devices.first())
            .copied()
            .ok_or_else(|| no_such_device("auto", &devices))
    }

    /// What kind of machine this is.
    pub fn kind(self) -> DeviceKind {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => DeviceKind::Cpu,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => graphics::kind(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => DeviceKind::Gpu,
            #[cfg(feature = "rocm")]
            Self::Rocm(_) => DeviceKind::Gpu,
        }
    }

    /// The memory of this device, where that can be asked for: of the processor on Linux, and of NVIDIA GPUs.
    pub fn memory(self) -> Option<DeviceMemory> {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => memory::of_this_process(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => cuda::memory(index),
            #[cfg(feature = "rocm")]
            Self::Rocm(_) => None,
        }
    }

    /// The number formats that this device computes in.
    pub fn precisions(self) -> Vec<Precision> {
        struct Supported;

        impl OnDevice for Supported {
            type Output = Vec<Precision>;

            fn run<B: TrackingBackend>(self, device: &B::Device) -> Vec<Precision> {
                let supports = |precision: &Precision| {
                    <B::InnerBackend as Backend>::supports_dtype(
                        device,
                        DType::from(precision.dtype()),
                    )
                };
                Precision::ALL.into_iter().filter(supports).collect()
            }
        }

        self.run(Supported)
    }

    /// The number format to compute in: the one that is wanted, if this device has it; if none is, f32 on the
    /// processor, which has no arithmetic of 16 bits, and on others the first that they have of bf16, f16 and f32.
    ///
    /// # Errors
    /// [`Error::NoSuchPrecision`].
    pub fn precision(self, wanted: Option<Precision>) -> Result<Precision, Error> {
        let is_processor = matches!(self.kind(), DeviceKind::Cpu | DeviceKind::Software);
        let available = match (wanted, is_processor) {
            (None, true) | (Some(Precision::F32), _) => return Ok(Precision::F32),
            _ => self.precisions(),
        };
        match wanted {
            None => {
                let order = [Precision::BF16, Precision::F16];
                let best = order.into_iter().find(|best| available.contains(best));
                Ok(best.unwrap_or(Precision::F32))
            }
            Some(wanted) if available.contains(&wanted) => Ok(wanted),
            Some(wanted) => Err(Error::NoSuchPrecision {
                device: self.to_string(),
                found: wanted,
                available,
            }),
        }
    }

    /// What is known of this device.
    pub fn info(self) -> DeviceInfo {
        let name = match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => memory::processor_name(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => graphics::name(),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => cuda::name(index),
            #[cfg(feature = "rocm")]
            Self::Rocm(_) => "AMD GPU".into(),
        };
        DeviceInfo {
            device: self.to_string(),
            name,
            kind: self.kind(),
            memory: self.memory(),
            dtypes: self.precisions(),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// The device of that name, if this build and this machine have it: `auto`, `cpu`, `vulkan`, `metal`, `webgpu`,
    /// `cuda`, `cuda:1` and so on.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "auto" {
            return Self::auto();
        }
        let devices = Self::here();
        // The first of a kind goes without its number, too.
        let is_meant = |device: &&Self| {
            let name = device.to_string();
            name == text || name.strip_suffix(":0") == Some(text)
        };
        let found = devices.iter().find(is_meant).copied();
        found.ok_or_else(|| no_such_device(text, &devices))
    }
}

fn no_such_device(found: &str, devices: &[Device]) -> Error {
    Error::NoSuchDevice {
        found: found.into(),
        available: devices.iter().map(Device::to_string).collect(),
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => f.write_str("cpu"),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => f.write_str(graphics::API),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => write!(f, "rocm:{index}"),
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    #[test]
    fn every_device_that_is_here_is_found_by_its_name() {
        let devices = Device::here();
        assert!(devices.contains(&Device::Cpu));
        for device in devices {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        "auto".parse::<Device>().unwrap();
    }

    #[test]
    fn a_device_that_is_not_here_is_an_error_that_lists_those_that_are() {
        for name in ["cuda:7", "cuda:x", "cpu:1", "auto:0", "rocm:99", ""] {
            let message = name.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
            assert!(message.contains("cpu"), "{message}");
        }
    }

    #[test]
    fn the_processor_computes_in_every_format_and_best_in_f32() {
        let info = Device::Cpu.info();
        assert_eq!(info.dtypes, Precision::ALL);
        assert_eq!(Device::Cpu.precision(None).unwrap(), Precision::F32);
        for precision in Precision::ALL {
            assert_eq!(Device::Cpu.precision(Some(precision)).unwrap(), precision);
        }
    }
}
