//! The gates of a network: where its rectifiers are open, and which elements its max-poolings pick.
//!
//! A network of rectifiers is smooth only as long as no gate moves. A second derivative knows the piece that the input
//! lies on; a difference of two displaced passes crosses to others. So a step notes the gates of its own pass and holds
//! them in the displaced ones, in the order in which the network comes to them:
//!
//! ```text
//!   noting    relu(x) = max(x, 0)          max_pool(x) = x[argmax]      -> gates: y, winners, ...
//!   holding   relu(x) = x where y > 0      max_pool(x) = x[winners]     <- gates
//! ```
//!
//! Rectifiers that are not this crate's move as they like.

use crate::error::{Error, Result};
use candle_core::{Shape, Tensor};
use std::cell::RefCell;
use std::rc::Rc;

/// The gates of one pass: a rectifier's result, a pooling's winners.
#[derive(Clone, Default)]
pub(crate) struct Gates(Rc<[Tensor]>);

/// What operations do with their gates.
#[derive(Clone, Default)]
pub(crate) enum Mode {
    /// They go by their own input.
    #[default]
    Own,
    /// And write down how.
    Noting(Vec<Tensor>),
    /// They go by gates that were noted, from the given place on.
    Holding(Gates, usize),
}

thread_local! {
    static MODE: RefCell<Mode> = const { RefCell::new(Mode::Own) };
}

/// Runs a pass and notes its gates.
pub(crate) fn noting<T>(pass: impl FnOnce() -> Result<T>) -> Result<(T, Gates)> {
    let (result, mode) = during(Mode::Noting(Vec::new()), pass);
    let Mode::Noting(noted) = mode else { unreachable!("a pass leaves the mode as it found it") };
    Ok((result?, Gates(noted.into())))
}

/// Runs a pass through the same network with the gates held.
///
/// # Errors
/// [`Error::OtherGates`] if the network does not come to the same gates.
pub(crate) fn holding<T>(gates: &Gates, pass: impl FnOnce() -> Result<T>) -> Result<T> {
    let (result, mode) = during(Mode::Holding(gates.clone(), 0), pass);
    let result = result?;
    match mode {
        Mode::Holding(gates, next) if next < gates.0.len() => Err(Error::OtherGates),
        _ => Ok(result),
    }
}

/// What is done with gates now, to [`resume`] from here: for a part of a network that is computed again.
pub(crate) fn mark() -> Mode {
    MODE.with_borrow(|mode| if let Mode::Holding(..) = mode { mode.clone() } else { Mode::Own })
}

/// Runs `f` as at the time of the mark.
pub(crate) fn resume<T>(mark: &Mode, f: impl FnOnce() -> T) -> T {
    during(mark.clone(), f).0
}

/// Writes down the gate of an operation, if this pass notes them.
pub(crate) fn note(gate: &Tensor) {
    MODE.with_borrow_mut(|mode| {
        if let Mode::Noting(noted) = mode {
            noted.push(gate.detach());
        }
    });
}

/// Whether this pass holds its gates.
pub(crate) fn are_held() -> bool {
    MODE.with_borrow(|mode| matches!(mode, Mode::Holding(..)))
}

/// The gate, of the given shape, that an operation is to go by, if gates are held.
pub(crate) fn next(shape: &Shape) -> Result<Option<Tensor>> {
    MODE.with_borrow_mut(|mode| {
        let Mode::Holding(gates, next) = mode else { return Ok(None) };
        let gate = gates.0.get(*next).filter(|gate| gate.shape() == shape).ok_or(Error::OtherGates)?;
        *next += 1;
        Ok(Some(gate.clone()))
    })
}

fn during<T>(mode: Mode, f: impl FnOnce() -> T) -> (T, Mode) {
    struct Restore(Option<Mode>);
    impl Restore {
        fn now(&mut self) -> Mode {
            self.0.take().map_or(Mode::Own, |before| MODE.replace(before))
        }
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            self.now();
        }
    }
    let mut restore = Restore(Some(MODE.replace(mode)));
    let result = f();
    (result, restore.now())
}

#[cfg(test)]
mod tests {
    use super::{holding, next, noting};
    use crate::Error;
    use crate::ops::{Pool2dOptions, max_pool2d, relu};
    use candle_core::{Device, Tensor};

    fn row(values: [f64; 4]) -> Tensor {
        Tensor::from_slice(&values, (1, 1, 1, 4), &Device::Cpu).unwrap()
    }

    fn numbers(x: &Tensor) -> Vec<f64> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Of a row: what is positive, and the larger of each two neighbours.
    fn network(x: &Tensor) -> crate::Result<Tensor> {
        let pairs = Pool2dOptions { kernel_size: (1, 2), stride: (1, 2), padding: (0, 0) };
        max_pool2d(&relu(x)?, pairs)
    }

    #[test]
    fn held_gates_do_not_move() {
        let (y, gates) = noting(|| network(&row([1.0, 2.0, -1.0, 3.0]))).unwrap();
        assert_eq!(numbers(&y), [2.0, 3.0]);
        let displaced = row([9.0, -2.0, 9.0, 5.0]);
        assert_eq!(numbers(&holding(&gates, || network(&displaced)).unwrap()), [-2.0, 5.0]);
        assert_eq!(numbers(&network(&displaced).unwrap()), [9.0, 9.0]);
    }

    #[test]
    fn another_network_is_refused() {
        let x = row([1.0, 2.0, -1.0, 3.0]);
        let (_, gates) = noting(|| network(&x)).unwrap();
        let refused = |result: crate::Result<Tensor>| assert!(matches!(result, Err(Error::OtherGates)));
        refused(holding(&gates, || relu(&x)));
        refused(holding(&gates, || relu(&network(&x)?)));
        refused(holding(&gates, || network(&x.reshape((1, 1, 2, 2))?)));
        assert!(next(x.shape()).unwrap().is_none(), "nothing is held any more");
    }
}
