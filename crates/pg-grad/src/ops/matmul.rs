//! Products of matrices, batch by batch. The gradient by either factor is such a product again, in which the factors are read
//! transposed, so that they are closed under differentiation:
//!
//! ```text
//! C = A B      dA = dC B^T      dB = A^T dC
//! ```

use super::floats::{has_kernels, on_floats};
use crate::error::{Error, Result};
use crate::{pass, tape};
use candle_core::{CpuStorage, CustomOp2, Layout, Result as CandleResult, Shape, Tensor};
use pg_kernels::{Float, ProductGeometry, products};

/// `a` (..., m, k) times `b` (..., k, n), giving (..., m, n).
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit, [`Error::Window`] for empty ones.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiply(a, b, false)
}

/// `a` (..., m, k) times the transposes of `b` (..., n, k), giving (..., m, n).
///
/// # Errors
/// As [`matmul`].
pub fn matmul_t(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiply(a, b, true)
}

fn multiply(a: &Tensor, b: &Tensor, transposed: bool) -> Result<Tensor> {
    let (batch, m, k) = matrices(a)?;
    let (_, rows, cols) = matrices(b)?;
    let (inner, n) = if transposed { (cols, rows) } else { (rows, cols) };
    let leading = |t: &Tensor| t.dims()[..t.rank() - 2].to_vec();
    if inner != k || leading(a) != leading(b) {
        let expected = format!("{k} for the inner size, and the batch of {:?}", a.dims());
        return Err(Error::Shape { what: "second factor of matmul", actual: b.dims().to_vec(), expected });
    }
    let geometry = ProductGeometry::new(batch, [m, k, n], [false, transposed])?;
    let shape = Shape::from([leading(a), vec![m, n]].concat());
    if is_ours(a) {
        return Ok(Product { geometry, shape }.apply(a, b)?);
    }
    // candle takes two batch axes at most.
    let (a, b) = (a.reshape((batch, m, k))?, b.reshape((batch, rows, cols))?);
    Ok(a.matmul(&if transposed { b.t()? } else { b })?.reshape(shape)?)
}

/// `x` (..., in) times the transpose of `weight` (out, in), giving (..., out).
pub(super) fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((out, input), rows) = (weight.dims2()?, x.elem_count());
    let mut shape = x.dims().to_vec();
    match shape.last_mut() {
        Some(last) if *last == input => *last = out,
        _ => {
            let expected = format!("(..., {input})");
            return Err(Error::Shape { what: "input of linear", actual: x.dims().to_vec(), expected });
        }
    }
    let rows = rows / input.max(1);
    if is_ours(x) {
        let geometry = ProductGeometry::new(1, [rows, input, out], [false, true])?;
        return Ok(Product { geometry, shape: shape.into() }.apply(x, weight)?);
    }
    Ok(x.reshape((rows, input))?.matmul(&weight.t()?)?.reshape(shape)?)
}

/// On other devices candle's products serve.
fn is_ours(x: &Tensor) -> bool {
    x.device().is_cpu() && has_kernels(x)
}

/// How many matrices, of how many rows and columns.
fn matrices(t: &Tensor) -> Result<(usize, usize, usize)> {
    match t.dims() {
        [leading @ .., rows, cols] => Ok((leading.iter().product(), *rows, *cols)),
        dims => {
            let expected = "(..., rows, columns)".to_string();
            Err(Error::Shape { what: "factor of matmul", actual: dims.to_vec(), expected })
        }
    }
}

struct Product {
    geometry: ProductGeometry,
    /// Of the result.
    shape: Shape,
}

impl Product {
    fn apply(self, a: &Tensor, b: &Tensor) -> CandleResult<Tensor> {
        tape::apply2(&a.contiguous()?, &b.contiguous()?, self, [true, true])
    }

    fn run<T: Float>(&self, a: &[T], b: &[T]) -> Vec<T> {
        products::multiply(&self.geometry, a, b)
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "pg-matmul"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let result = on_floats!("matmul", a: la, b: lb => self.run(a, b));
        Ok((result, self.shape.clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        // Either factor may be a weight, or the input of the step.
        let wanted = |t: &Tensor| pass::wants_input_gradient(t) && pass::wants_weight_gradient(t);
        let (by_a, by_b) = (wanted(a), wanted(b));
        let (a, b, grad) = (pass::operand(a), pass::operand(b), pass::operand(grad));
        let product = |(geometry, swaps), shape: &Shape, first: &Tensor, second: &Tensor| {
            let product = Self { geometry, shape: shape.clone() };
            if swaps { product.apply(second, first) } else { product.apply(first, second) }
        };
        let by_a = by_a.then(|| product(self.geometry.by_first(), a.shape(), &grad, &b)).transpose()?;
        let by_b = by_b.then(|| product(self.geometry.by_second(), b.shape(), &a, &grad)).transpose()?;
        Ok((by_a, by_b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        for (a, b) in
            [(&[2, 3][..], &[2, 3][..]), (&[2, 2, 3], &[3, 4]), (&[2, 2, 3], &[1, 3, 4]), (&[3], &[3, 4])]
        {
            assert!(matches!(matmul(&zeros(a), &zeros(b)), Err(Error::Shape { .. })), "{a:?} {b:?}");
        }
        assert!(matches!(matmul_t(&zeros(&[2, 3]), &zeros(&[3, 2])), Err(Error::Shape { .. })));
        assert!(matches!(matmul(&zeros(&[0, 3]), &zeros(&[3, 2])), Err(Error::Window(_))));
        assert!(matches!(project(&zeros(&[2, 3]), &zeros(&[2, 4])), Err(Error::Shape { .. })));
        assert_eq!(project(&zeros(&[5, 2, 3]), &zeros(&[4, 3])).unwrap().dims(), [5, 2, 4]);
    }
}
