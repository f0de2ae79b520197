//! How to run, whatever the command.

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args as ClapArgs;

use crate::error::SettingsError;

/// How to run, whatever the command. The number of threads changes no bit of a result; another device, or a processor
/// of another kind, rounds differently.
#[derive(Debug, ClapArgs)]
pub struct Machine {
    /// Threads; all cores by default.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    threads: Option<u16>,
    /// Device: cpu, cuda, cuda:N or metal. `synth` knows cpu only.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device, help_heading = "Machine")]
    device: DeviceName,
    /// Print one JSON object as the last line of standard output; no progress bar.
    #[arg(long, help_heading = "Machine")]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeviceName {
    Cpu,
    Cuda(usize),
    Metal,
}

fn parse_device(text: &str) -> Result<DeviceName, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(DeviceName::Cpu),
        None if text == "cuda" => Ok(DeviceName::Cuda(0)),
        None if text == "metal" => Ok(DeviceName::Metal),
        Some(("cuda", index)) => {
            index.parse().map(DeviceName::Cuda).map_err(|_| format!("`{index}` is not a device number"))
        }
        _ => Err("known devices: cpu, cuda, cuda:N, metal".to_owned()),
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
        match self.device {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(_) if !candle_core::utils::cuda_is_available() => {
                bail!("this build has no CUDA; build it with --features cuda, or use --device cpu")
            }
            DeviceName::Metal if !candle_core::utils::metal_is_available() => {
                bail!("this build has no Metal; build it with --features metal, or use --device cpu")
            }
            DeviceName::Cuda(index) => {
                Device::new_cuda(index).with_context(|| format!("cannot open cuda:{index}"))
            }
            DeviceName::Metal => Device::new_metal(0).context("cannot open metal"),
        }
    }
}
