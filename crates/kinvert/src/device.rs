//! Which machine computes. Everything that names a backend of the engine stands in this file.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A device to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[cfg(feature = "cpu")]
    Cpu,
    /// A GPU through Vulkan, Metal or WebGPU, whichever the system has.
    #[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
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
pub(crate) type Wgpu = burn::backend::Wgpu<f32, i32, u8>;
#[cfg(feature = "webgpu")]
pub(crate) type Wgpu = burn::backend::Wgpu<f32, i32, u32>;

/// Runs `$body` with `$B` as the tracking backend of a device and `$device` as the engine's handle of it.
macro_rules! with_backend {
    ($choice:expr, |$B:ident, $device:ident| $body:expr) => {
        match $choice {
            #[cfg(feature = "cpu")]
            $crate::device::Device::Cpu => {
                type $B = burn::backend::Autodiff<burn_flex::Flex>;
                let $device = burn_flex::FlexDevice;
                $body
            }
            #[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
            $crate::device::Device::Wgpu => {
                type $B = burn::backend::Autodiff<$crate::device::Wgpu>;
                let $device = burn::backend::wgpu::WgpuDevice::default();
                $body
            }
            #[cfg(feature = "cuda")]
            $crate::device::Device::Cuda(index) => {
                type $B = burn::backend::Autodiff<burn::backend::Cuda<f32, i32>>;
                let $device = burn::backend::cuda::CudaDevice::new(index);
                $body
            }
            #[cfg(feature = "rocm")]
            $crate::device::Device::Rocm(index) => {
                type $B = burn::backend::Autodiff<burn::backend::Rocm<f32, i32>>;
                let $device = burn::backend::rocm::RocmDevice::new(index);
                $body
            }
        }
    };
}
pub(crate) use with_backend;

impl Device {
    /// Names of the devices that this build can compute on.
    pub fn available() -> Vec<String> {
        let mut names = vec!["auto".to_string()];
        #[cfg(feature = "cpu")]
        names.push("cpu".into());
        #[cfg(feature = "vulkan")]
        names.push("vulkan".into());
        #[cfg(feature = "metal")]
        names.push("metal".into());
        #[cfg(feature = "webgpu")]
        names.push("webgpu".into());
        #[cfg(feature = "cuda")]
        names.push("cuda[:n]".into());
        #[cfg(feature = "rocm")]
        names.push("rocm[:n]".into());
        names
    }

    /// The fastest kind of device that was built in. No build with several kinds tries them out: name the one
    /// you mean.
    #[allow(unreachable_code)]
    fn auto() -> Self {
        #[cfg(feature = "cuda")]
        return Self::Cuda(0);
        #[cfg(feature = "rocm")]
        return Self::Rocm(0);
        #[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
        return Self::Wgpu;
        #[cfg(feature = "cpu")]
        return Self::Cpu;
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::NoSuchDevice {
            found: text.into(),
            available: Self::available(),
        };
        let (name, _index) = match text.split_once(':') {
            Some((name, index)) => (name, index.parse::<usize>().map_err(|_| refuse())?),
            None => (text, 0),
        };
        match name {
            "auto" if name == text => Ok(Self::auto()),
            #[cfg(feature = "cpu")]
            "cpu" if name == text => Ok(Self::Cpu),
            #[cfg(feature = "vulkan")]
            "vulkan" if name == text => Ok(Self::Wgpu),
            #[cfg(feature = "metal")]
            "metal" if name == text => Ok(Self::Wgpu),
            #[cfg(feature = "webgpu")]
            "webgpu" if name == text => Ok(Self::Wgpu),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self::Cuda(_index)),
            #[cfg(feature = "rocm")]
            "rocm" => Ok(Self::Rocm(_index)),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => f.write_str("cpu"),
            #[cfg(any(feature = "vulkan", feature = "metal", feature = "webgpu"))]
            Self::Wgpu => f.write_str("wgpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => write!(f, "rocm:{index}"),
        }
    }
}
