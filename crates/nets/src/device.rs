//! Which machine computes. Everything that names a backend of the engine stands in this file.

use std::fmt;
use std::str::FromStr;

use burn::backend::Autodiff;

use crate::error::Error;
use crate::kernels::TrackingBackend;

/// A device to compute on.
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
        #[cfg(feature = "wgpu")]
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
            #[cfg(feature = "wgpu")]
            Self::Wgpu => f.write_str("wgpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => write!(f, "rocm:{index}"),
        }
    }
}
