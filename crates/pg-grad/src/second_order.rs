//! candle's second-order switch.
//!
//! candle 0.11.1 detaches every gradient inside `backward` unless the environment variable
//! `CANDLE_GRAD_DO_NOT_DETACH` is set, and each thread reads it once, at its first backward pass. With the switch
//! off a gradient of a gradient is not refused: it is silently wrong. So exact guidance asks [`check`] first.

use crate::error::{Error, Result};
use candle_core::{Device, Var};
use std::cell::Cell;

const SWITCH: &str = "CANDLE_GRAD_DO_NOT_DETACH";

/// Turns second-order derivatives on for every thread that has not yet run a backward pass.
///
/// # Safety
/// Writes an environment variable: call it at the start of `main`, while no other thread runs.
#[allow(unsafe_code, reason = "candle reads the switch from the environment")]
pub unsafe fn enable() {
    // SAFETY: the caller promises that no other thread reads or writes the environment.
    unsafe { std::env::set_var(SWITCH, "1") }
}

/// Whether a gradient of a gradient is right on this thread, found by computing one.
///
/// # Errors
/// [`Error::SecondOrderOff`] if candle detaches gradients on this thread.
pub fn check() -> Result<()> {
    thread_local! {
        static WORKS: Cell<bool> = const { Cell::new(false) };
    }
    if !WORKS.get() {
        WORKS.set(probe()?);
    }
    if WORKS.get() { Ok(()) } else { Err(Error::SecondOrderOff) }
}

/// The second derivative of (x^2)^2 at 1 is 12; detached gradients give less.
fn probe() -> Result<bool> {
    let x = Var::new(1f64, &Device::Cpu)?;
    let gradients = x.sqr()?.sqr()?.backward()?;
    let first = gradients.get(&x).ok_or(Error::NoInputGradient)?;
    let second = first.backward()?;
    let second = second.get(&x).map(|g| g.to_scalar::<f64>()).transpose()?;
    Ok(second == Some(12.0))
}
