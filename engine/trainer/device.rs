//! The device of the model: `model.device` and `model.dtype` in, a [`Place`] out.

use burn::tensor::{DType, Device};

use super::kernel::Place;
use super::{Dtype, ModelConfig, TrainerError};

/// The values of `model.device`.
enum DeviceName {
    Auto,
    Cpu,
    Gpu(usize),
}

fn parse_device_name(device: &str) -> Option<DeviceName> {
    match device.to_ascii_lowercase().as_str() {
        "auto" => Some(DeviceName::Auto),
        "cpu" | "cpu:0" => Some(DeviceName::Cpu),
        "gpu" | "cuda" => Some(DeviceName::Gpu(0)),
        other => other.strip_prefix("cuda:")?.parse().ok().map(DeviceName::Gpu),
    }
}

impl ModelConfig {
    /// True where `model.device` is the name of a device. This machine may lack the device all the same.
    pub fn names_a_device(&self) -> bool {
        parse_device_name(&self.device).is_some()
    }
}

/// The device that `model.device` names, computing in `model.dtype`. `auto` without a GPU is the CPU, except for a type
/// that only a GPU has: a run never computes in another type than it was asked for.
pub(super) fn place(config: &ModelConfig) -> Result<Place, TrainerError> {
    let device = config.device.as_str();
    let failed = |reason: String| TrainerError::Device { device: device.into(), reason };
    let place = match parse_device_name(device) {
        Some(DeviceName::Cpu) => Place::cpu(),
        Some(DeviceName::Auto) => match (cuda(0), config.dtype) {
            (Ok(device), _) => of_gpu(device, config.dtype),
            (Err(_), Dtype::F32) => Place::cpu(),
            (Err(reason), Dtype::Bf16) => {
                return Err(failed(format!("model.dtype bf16 needs a GPU, but {reason}; f32 runs on the CPU, too")));
            }
        },
        Some(DeviceName::Gpu(number)) => of_gpu(cuda(number).map_err(failed)?, config.dtype),
        None => return Err(failed("unknown; auto, cpu, and gpu, cuda or cuda:N are known".into())),
    };
    match (place.host, config.dtype) {
        (true, Dtype::Bf16) => Err(failed("model.dtype is bf16, but the CPU computes in f32 alone".into())),
        _ => Ok(place),
    }
}

/// The name of the arithmetic of a place: where it differs, sums are rounded in other places.
pub(super) fn arithmetic(place: &Place) -> &'static str {
    if !place.host {
        return "a GPU";
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    std::env::consts::ARCH
}

fn of_gpu(device: Device, dtype: Dtype) -> Place {
    let dtype = match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
    };
    Place { device, host: false, dtype }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
    match number < found.len() {
        true => Ok(Device::cuda(number)),
        false => Err(format!("there are {} CUDA devices", found.len())),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Result<Device, String> {
    Err("this binary was built without the cargo feature cuda".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True where a config computes in main memory; the error where it cannot compute.
    fn placed(device: &str, dtype: Dtype) -> Result<bool, String> {
        let config = ModelConfig { device: device.into(), dtype, ..ModelConfig::default() };
        place(&config).map(|place| place.host).map_err(|error| error.to_string())
    }

    #[test]
    fn a_device_that_cannot_be_had_is_refused_and_auto_falls_back_to_the_cpu_in_f32_alone() {
        assert_eq!(placed("cpu", Dtype::F32), Ok(true));
        let error = placed("cpu", Dtype::Bf16).unwrap_err();
        assert_eq!(error, "model.device cpu: model.dtype is bf16, but the CPU computes in f32 alone");
        assert_eq!([placed("CPU", Dtype::F32), placed("cpu:0", Dtype::F32)], [Ok(true), Ok(true)]);
        let error = placed("mps", Dtype::F32).unwrap_err();
        assert_eq!(error, "model.device mps: unknown; auto, cpu, and gpu, cuda or cuda:N are known");
        if let Err(reason) = cuda(0) {
            assert_eq!(placed("gpu", Dtype::F32), Err(format!("model.device gpu: {reason}")));
        }
        if let Err(reason) = cuda(0) {
            assert_eq!(placed("auto", Dtype::F32), Ok(true));
            let error = placed("auto", Dtype::Bf16).unwrap_err();
            assert!(error.starts_with("model.device auto: model.dtype bf16 needs a GPU, but "), "{error}");
            assert!(error.contains(&reason), "{error}");
        }
        let error = placed("cuda:1000", Dtype::F32).unwrap_err();
        assert!(error.starts_with("model.device cuda:1000: "), "{error}");
    }
}
