//! The transforms between tiles and points: A, B and G of the file above and their transposes, on vectors.

use pulp::Simd;

/// The points: 0, P, -P, Q, -Q, infinity.
const P: f32 = 0.75;
const Q: f32 = 1.5;
/// The polynomial that vanishes at the other points, at 0, at P or -P, and at Q or -Q.
const AT_0: f32 = P * P * Q * Q;
const AT_P: f32 = 2.0 * P * P * (P * P - Q * Q);
const AT_Q: f32 = 2.0 * Q * Q * (Q * Q - P * P);
/// A one-dimensional transform. No closure: it would not be compiled for the vector instructions.
pub(super) trait Line<const FROM: usize, const TO: usize> {
    fn apply<S: Simd>(simd: S, values: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// A one-dimensional map of `FROM` to `TO` vectors, along the columns and then the rows of a square.
#[inline(always)]
pub(super) fn transform<S: Simd, L: Line<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    square: &[S::f32s],
) -> [[S::f32s; TO]; TO] {
    let zero = simd.splat_f32s(0.0);
    let mut half = [[zero; FROM]; TO];
    for x in 0..FROM {
        let mut column = [zero; FROM];
        for (y, value) in column.iter_mut().enumerate() {
            *value = square[y * FROM + x];
        }
        for (half, value) in half.iter_mut().zip(L::apply(simd, column)) {
            half[x] = value;
        }
    }
    let mut result = [[zero; TO]; TO];
    for (result, half) in result.iter_mut().zip(half) {
        *result = L::apply(simd, half);
    }
    result
}

/// B': the coefficients of the polynomials that vanish at all points but one.
pub(super) struct InputPoints;

impl Line<6, 6> for InputPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let [p, q, p2, q2] = [P, Q, P * P, Q * Q].map(|x| simd.splat_f32s(x));
        let [sum, product] = [P * P + Q * Q, P * P * Q * Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.negate_mul_add_e_f32s(q2, d[2], d[4]);
        let p_odd = simd.mul_f32s(p, simd.negate_mul_add_e_f32s(q2, d[1], d[3]));
        let q_even = simd.negate_mul_add_e_f32s(p2, d[2], d[4]);
        let q_odd = simd.mul_f32s(q, simd.negate_mul_add_e_f32s(p2, d[1], d[3]));
        [
            simd.mul_add_e_f32s(product, d[0], simd.negate_mul_add_e_f32s(sum, d[2], d[4])),
            simd.add_f32s(p_even, p_odd),
            simd.sub_f32s(p_even, p_odd),
            simd.add_f32s(q_even, q_odd),
            simd.sub_f32s(q_even, q_odd),
            simd.mul_add_e_f32s(product, d[1], simd.negate_mul_add_e_f32s(sum, d[3], d[5])),
        ]
    }
}

/// A': the powers of the points.
pub(super) struct Outputs;

impl Line<6, 4> for Outputs {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let [p, p2, p3] = [P, P * P, P * P * P].map(|x| simd.splat_f32s(x));
        let [q, q2, q3] = [Q, Q * Q, Q * Q * Q].map(|x| simd.splat_f32s(x));
        let (p_sum, p_difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (q_sum, q_difference) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(p_sum, q_sum)),
            simd.mul_add_e_f32s(p, p_difference, simd.mul_f32s(q, q_difference)),
            simd.mul_add_e_f32s(p2, p_sum, simd.mul_f32s(q2, q_sum)),
            simd.mul_add_e_f32s(p3, p_difference, simd.mul_add_e_f32s(q3, q_difference, m[5])),
        ]
    }
}

/// A.
pub(super) struct GradientPoints;

impl Line<4, 6> for GradientPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let [p, p2, p3] = [P, P * P, P * P * P].map(|x| simd.splat_f32s(x));
        let [q, q2, q3] = [Q, Q * Q, Q * Q * Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.mul_add_e_f32s(p2, y[2], y[0]);
        let p_odd = simd.mul_add_e_f32s(p3, y[3], simd.mul_f32s(p, y[1]));
        let q_even = simd.mul_add_e_f32s(q2, y[2], y[0]);
        let q_odd = simd.mul_add_e_f32s(q3, y[3], simd.mul_f32s(q, y[1]));
        [
            y[0],
            simd.add_f32s(p_even, p_odd),
            simd.sub_f32s(p_even, p_odd),
            simd.add_f32s(q_even, q_odd),
            simd.sub_f32s(q_even, q_odd),
            y[3],
        ]
    }
}

/// G: the powers of the points over what the polynomials of B are there.
pub(super) struct KernelPoints;

impl Line<3, 6> for KernelPoints {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        let [at_0, at_p, at_q] = [AT_0, AT_P, AT_Q].map(|x| simd.splat_f32s(1.0 / x));
        let [p, p2, q, q2] = [P / AT_P, P * P / AT_P, Q / AT_Q, Q * Q / AT_Q].map(|x| simd.splat_f32s(x));
        let p_even = simd.mul_add_e_f32s(p2, g[2], simd.mul_f32s(at_p, g[0]));
        let q_even = simd.mul_add_e_f32s(q2, g[2], simd.mul_f32s(at_q, g[0]));
        [
            simd.mul_f32s(at_0, g[0]),
            simd.mul_add_e_f32s(p, g[1], p_even),
            simd.negate_mul_add_e_f32s(p, g[1], p_even),
            simd.mul_add_e_f32s(q, g[1], q_even),
            simd.negate_mul_add_e_f32s(q, g[1], q_even),
            g[2],
        ]
    }
}

/// G'.
pub(super) struct KernelGradient;

impl Line<6, 3> for KernelGradient {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, s: [S::f32s; 6]) -> [S::f32s; 3] {
        let [at_0, at_p, at_q] = [AT_0, AT_P, AT_Q].map(|x| simd.splat_f32s(1.0 / x));
        let [p, p2, q, q2] = [P / AT_P, P * P / AT_P, Q / AT_Q, Q * Q / AT_Q].map(|x| simd.splat_f32s(x));
        let (p_sum, p_difference) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
        let (q_sum, q_difference) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
        [
            simd.mul_add_e_f32s(at_0, s[0], simd.mul_add_e_f32s(at_p, p_sum, simd.mul_f32s(at_q, q_sum))),
            simd.mul_add_e_f32s(p, p_difference, simd.mul_f32s(q, q_difference)),
            simd.mul_add_e_f32s(p2, p_sum, simd.mul_add_e_f32s(q2, q_sum, s[5])),
        ]
    }
}
