//! How to run, whatever the command.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args as ClapArgs;
use pg_grad::keep_freed_device_memory;
use std::str::FromStr;

use crate::error::SettingsError;

/// How to run, whatever the command. The number of threads changes no bit of a result; another device, or a processor
/// of another kind, rounds differently.
#[derive(Debug, ClapArgs)]
pub struct Machine {
    /// Threads; all cores by default.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    threads: Option<u16>,
    /// Device: cpu, cuda, cuda:N or metal. `synth` knows cpu only.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", help_heading = "Machine")]
    device: DeviceName,
    /// Print one JSON object as the last line of standard output; no progress bar.
    #[arg(long, help_heading = "Machine")]
    pub json: bool,
}

/// What a user calls a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// `cpu`.
    Cpu,
    /// `cuda:N`; `cuda` is the first.
    Cuda(usize),
    /// `metal`.
    Metal,
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            None if text == "metal" => Ok(Self::Metal),
            Some(("cuda", index)) => {
                index.parse().map(Self::Cuda).map_err(|_| format!("`{index}` is not a device number"))
            }
            _ => Err("known devices: cpu, cuda, cuda:N, metal".to_owned()),
        }
    }
}

impl DeviceName {
    /// Opens the device; a CUDA device keeps what is freed on it for what comes next.
    ///
    /// # Errors
    /// If this build or this machine does not have it.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !candle_core::utils::cuda_is_available() => {
                bail!("this build has no CUDA; build it with --features cudnn (or cuda), or use --device cpu")
            }
            Self::Metal if !candle_core::utils::metal_is_available() => {
                bail!("this build has no Metal; build it with --features metal, or use --device cpu")
            }
            Self::Cuda(index) => {
                let device = Device::new_cuda(index).with_context(|| format!("cannot open cuda:{index}"))?;
                keep_freed_device_memory(&device)?;
                Ok(device)
            }
            Self::Metal => Device::new_metal(0).context("cannot open metal"),
        }
    }
}

impl Machine {
    /// How many threads were asked for.
    pub fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }

    /// Refuses any device but the CPU, for a command that uses no other.
    ///
    /// # Errors
    /// [`SettingsError::Range`].
    pub fn check_cpu(&self) -> Result<(), SettingsError> {
        let value = match self.device {
            DeviceName::Cpu => return Ok(()),
            DeviceName::Cuda(index) => format!("cuda:{index}"),
            DeviceName::Metal => "metal".to_owned(),
        };
        Err(SettingsError::Range { flag: "device", expected: "cpu (this command uses no other)", value })
    }

    /// Opens the device.
    ///
    /// # Errors
    /// If this build or this machine does not have it.
    pub fn open_device(&self) -> Result<Device> {
        self.device.open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_by_their_names() {
        let parsed = |text: &str| text.parse::<DeviceName>();
        assert_eq!(parsed("cpu"), Ok(DeviceName::Cpu));
        assert_eq!((parsed("cuda"), parsed("cuda:2")), (Ok(DeviceName::Cuda(0)), Ok(DeviceName::Cuda(2))));
        assert_eq!(parsed("cuda:x").unwrap_err(), "`x` is not a device number");
        assert!(parsed("gpu").unwrap_err().starts_with("known devices: cpu"));
    }
}
