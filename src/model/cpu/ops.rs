//! The operations between the matrix products: norm, rotary embedding, activation, log-softmax.

use super::simd::multiversion;

/// Lanes of the partial sums below; fixed, so that the order of additions is the same on every machine.
const LANES: usize = 16;

/// 1.5 · 2²³: between this and half a million more or less, f32 holds integers only.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// `exp(x)` in f32, within 2 units in the last place on [-87, 88]; written so that it becomes vector code.
/// Range reduction by ln 2 in two parts and a degree-6 polynomial (the classic Cephes scheme).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.336_54, 88.376_26);
    // Adding a number whose last bit counts ones rounds to an integer, and leaves it in the low bits.
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_6e-1);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r) + 1.0;
    // The clamp keeps n within [-126, 128); 128 would need a larger exponent than f32 has.
    p * f32::from_bits(shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23)
}

/// `ln(x)` in f32 for positive normal numbers, within 2 units in the last place; written so that it becomes vector
/// code. The number is split into a power of two and a part in [√½, √2), whose logarithm is a polynomial (the
/// classic Cephes scheme).
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // The distance to √½ in bits tells the power of two.
    let power = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let e = power as f32;
    let m = f32::from_bits(bits.wrapping_sub((power << 23) as u32)) - 1.0;
    let z = m * m;
    let p = 7.037_683_6e-2f32.mul_add(m, -1.151_461e-1);
    let p = p.mul_add(m, 1.167_699_9e-1);
    let p = p.mul_add(m, -1.242_014_1e-1);
    let p = p.mul_add(m, 1.424_932_3e-1);
    let p = p.mul_add(m, -1.666_805_8e-1);
    let p = p.mul_add(m, 2.000_071_5e-1);
    let p = p.mul_add(m, -2.499_999_4e-1);
    let p = p.mul_add(m, 3.333_333e-1);
    let y = p * m * z;
    let y = e.mul_add(-2.121_944_4e-4, y);
    let y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_4, m + y)
}

#[inline(always)]
fn tree_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

multiversion! {
    /// The largest value of a slice into `out`.
    pub fn largest(x: &[f32], out: &mut f32) {
        *out = lane_max(x);
    }
}

multiversion! {
    /// `Σ exp((x − max) · inverse)` into `out`: what a tempered distribution is divided by.
    pub fn sum_of_exponentials(x: &[f32], max: f32, inverse: f32, out: &mut f32) {
        *out = lane_sum(x, |v| exp((v - max) * inverse));
    }
}

/// The largest value of a slice.
#[inline(always)]
pub(super) fn lane_max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max)
}

/// Sum of `f(x)` over a slice in 16 interleaved partial sums, added up as a tree.
#[inline(always)]
pub(super) fn lane_sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f(chunk[i]);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f(v);
    }
    tree_sum(lanes)
}

/// What the RMS norm multiplies a row with, besides the weights.
#[inline(always)]
fn rms_factor(x: &[f32], eps: f32) -> f32 {
    1.0 / (lane_sum(x, |v| v * v) / x.len() as f32 + eps).sqrt()
}

multiversion! {
    /// RMS norm of each row of `x` (`rows × weight.len()`) into `out`: `x / sqrt(mean(x²) + eps) · weight`.
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let n = weight.len();
        for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            let inv = rms_factor(x, eps);
            for i in 0..n {
                out[i] = x[i] * inv * weight[i];
            }
        }
    }
}

multiversion! {
    /// RMS norm of each row of `x` (`rows × weight.len()`) in place.
    pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
        let n = weight.len();
        for x in x.chunks_exact_mut(n) {
            let inv = rms_factor(x, eps);
            for i in 0..n {
                x[i] = x[i] * inv * weight[i];
            }
        }
    }
}

multiversion! {
    /// Layer norm of each row of `x` (`rows × weight.len()`) into `out`:
    /// `(x − mean(x)) / sqrt(var(x) + eps) · weight + bias`.
    pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let n = weight.len();
        for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            let mean = lane_sum(x, |v| v) / n as f32;
            let variance = lane_sum(x, |v| (v - mean) * (v - mean)) / n as f32;
            let inv = 1.0 / (variance + eps).sqrt();
            for i in 0..n {
                out[i] = (x[i] - mean) * inv * weight[i] + bias[i];
            }
        }
    }
}

/// `tanh(x)` in f32, within 2e-7; written so that it becomes vector code.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The Gaussian error linear unit in its tanh form.
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    // √(2 / π)
    let inner = 0.797_884_6 * (0.044_715 * x * x).mul_add(x, x);
    0.5 * x * (1.0 + tanh(inner))
}

/// The Gaussian error linear unit; its error function by formula 7.1.26 of Abramowitz and Stegun, within 3e-7.
#[inline(always)]
fn gelu_exact_of(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.327_591_1f32.mul_add(z, 1.0);
    let p = 1.061_405_4f32.mul_add(t, -1.453_152_1);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_74);
    let p = p.mul_add(t, 0.254_829_6);
    let complement = p * t * exp(-z * z);
    let erf = if x < 0.0 { complement - 1.0 } else { 1.0 - complement };
    0.5 * x * (1.0 + erf)
}

/// `x · sigmoid(x)`.
#[inline(always)]
fn silu_of(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// A nonlinearity over slices: `x ← f(x)`, and `gate ← f(gate) · up`.
macro_rules! nonlinearity {
    ($of:ident, $plain:ident, $gated:ident) => {
        multiversion! {
            /// The nonlinearity of every element, in place.
            pub fn $plain(x: &mut [f32]) {
                for x in x.iter_mut() {
                    *x = $of(*x);
                }
            }
        }

        multiversion! {
            /// The nonlinearity of every element of `gate`, in place, times that of `up`.
            pub fn $gated(gate: &mut [f32], up: &[f32]) {
                for (g, &u) in gate.iter_mut().zip(up) {
                    *g = $of(*g) * u;
                }
            }
        }
    };
}

nonlinearity!(silu_of, silu, swiglu);
nonlinearity!(gelu_of, gelu, geglu);
nonlinearity!(gelu_exact_of, gelu_exact, geglu_exact);

multiversion! {
    /// `x ← cap · tanh(x / cap)`.
    pub fn soft_cap(x: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for x in x.iter_mut() {
            *x = cap * tanh(*x * inverse);
        }
    }
}

multiversion! {
    /// `x ← x + scale · y`.
    pub fn add_scaled(x: &mut [f32], y: &[f32], scale: f32) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = y.mul_add(scale, *x);
        }
    }
}

multiversion! {
    /// `x ← x + y`.
    pub fn add_assign(x: &mut [f32], y: &[f32]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

multiversion! {
    /// Adds `bias` to every row of `x`.
    pub fn add_bias(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, &b) in row.iter_mut().zip(bias) {
                *x += b;
            }
        }
    }
}

multiversion! {
    /// Log-softmax of one row in place, over the whole vocabulary in f32: `x ← x − max − ln Σ exp(x − max)`.
    pub fn log_softmax(x: &mut [f32]) {
        let max = lane_max(x);
        let shift = max + lane_sum(x, |v| exp(v - max)).ln();
        for v in x.iter_mut() {
            *v -= shift;
        }
    }
}

multiversion! {
    /// Appends the log-softmax of a row to `out`, with the bits that [`log_softmax`] gives it.
    pub fn log_softmax_into(x: &[f32], out: &mut Vec<f32>) {
        let max = lane_max(x);
        let shift = max + lane_sum(x, |v| exp(v - max)).ln();
        out.extend(x.iter().map(|v| v - shift));
    }
}

/// Elements that are looked at together.
const LOOK: usize = 64;

multiversion! {
    /// Adds the index and value of every element that is at least `floor` to `out`, in their order. Made for few: most of
    /// a vocabulary holds next to nothing.
    pub fn at_least(x: &[f32], floor: f32, out: &mut Vec<(u32, f32)>) {
        for (part, x) in x.chunks(LOOK).enumerate() {
            if x.iter().fold(false, |any, &v| any | (v >= floor)) {
                let found = x.iter().enumerate().filter(|&(_, &v)| v >= floor);
                out.extend(found.map(|(i, &v)| ((part * LOOK + i) as u32, v)));
            }
        }
    }
}

/// Which elements of a head a rotary embedding turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// `(i, i + half)`: Hugging Face's order, and GGUF's for Qwen2.
    Halves,
    /// `(2i, 2i + 1)`: GGUF's order for Llama, whose converter permutes the rows of q and k.
    Interleaved,
}

/// Turns the dimensions from `first` on of every head of `x` (`heads × head_dim`) by the angles of one position; `cos` and
/// `sin` hold a value for each pair.
pub fn rope(x: &mut [f32], head_dim: usize, first: usize, cos: &[f32], sin: &[f32], pairs: RopePairs) {
    let half = cos.len();
    for head in x.chunks_exact_mut(head_dim) {
        let head = &mut head[first..];
        for i in 0..half {
            let (a, b) = match pairs {
                RopePairs::Halves => (i, i + half),
                RopePairs::Interleaved => (2 * i, 2 * i + 1),
            };
            let (x0, x1) = (head[a], head[b]);
            head[a] = x0 * cos[i] - x1 * sin[i];
            head[b] = x0 * sin[i] + x1 * cos[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_libm() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let (ours, truth) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / truth - 1.0).abs() < 3e-7, "exp({x}) = {ours}, not {truth}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1.3e-38);
    }

    #[test]
    fn tanh_and_gelu_are_close_to_libm() {
        for i in -3000..3000 {
            let x = i as f32 / 100.0;
            let truth = f64::from(x).tanh();
            assert!((f64::from(tanh(x)) - truth).abs() < 2e-7, "tanh({x}) = {}, not {truth}", tanh(x));
            let x64 = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x64 + 0.044715 * x64.powi(3));
            let truth = 0.5 * x64 * (1.0 + inner.tanh());
            assert!((f64::from(gelu_of(x)) - truth).abs() < 1e-6 * truth.abs().max(1.0), "gelu({x})");
        }
        // From a table of the normal distribution: x · Φ(x).
        for (x, phi) in
            [(-3.0f32, 0.001_349_898), (-1.0, 0.158_655_25), (0.5, 0.691_462_46), (2.0, 0.977_249_87)]
        {
            assert!((gelu_exact_of(x) - x * phi).abs() < 1e-6, "gelu({x}) = {}", gelu_exact_of(x));
        }
    }

    #[test]
    fn ln_is_close_to_libm() {
        for i in 1..200_000u32 {
            let x = f32::from_bits(0x0080_0000 + i * 10_000);
            let (ours, truth) = (f64::from(ln(x)), f64::from(x).ln());
            assert!((ours - truth).abs() <= 2.5e-7 * truth.abs().max(0.5), "ln({x}) = {ours}, not {truth}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn log_softmax_normalises() {
        let mut x: Vec<f32> = (0..1003).map(|i| ((i * 37) % 101) as f32 / 7.0).collect();
        let mut beside = Vec::new();
        log_softmax_into(&x, &mut beside);
        log_softmax(&mut x);
        assert_eq!(beside, x);
        let total: f64 = x.iter().map(|&v| f64::from(v).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
}
