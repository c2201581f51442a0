//! Rotary embedding: which dimensions of a head turn, how fast, and how that is stretched for longer contexts.

use super::ModelError;
use super::cpu::ops::RopePairs;

/// How queries and keys are turned.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// First dimension of a head that turns.
    pub first: usize,
    /// Dimensions that turn.
    pub dims: usize,
    /// Which of them turn together.
    pub pairs: RopePairs,
    /// How the frequencies are stretched.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are changed for longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Unchanged.
    None,
    /// Positions divided by a factor (DeepSeek-Coder: 4).
    Linear(f32),
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Division of the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_freq_factor` are divided.
        low_freq_factor: f32,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f32,
        /// Context length before scaling.
        original_context: f32,
    },
    /// YaRN (arXiv 2309.00071): as Llama3, with a ramp over the dimensions, and all turned vectors `magnitude` times as long.
    Yarn {
        /// Division of the low frequencies.
        factor: f32,
        /// Context length before scaling.
        original_context: f32,
        /// Dimensions that turn more often than this in the original context are kept.
        beta_fast: f32,
        /// Dimensions that turn less often are divided.
        beta_slow: f32,
        /// See above.
        magnitude: f32,
    },
    /// One divisor a frequency (GGUF's tensor `rope_freqs.weight`).
    Factors(Vec<f32>),
    /// Phi-3's LongRoPE: one divisor a frequency, others for contexts up to the original length than for longer ones, and all
    /// turned vectors `magnitude` times as long. Keys stay in the cache while a sequence grows, so the choice is made once,
    /// by the context that the model is run with.
    Long {
        /// Divisors for short contexts.
        short: Vec<f32>,
        /// Divisors for long ones.
        long: Vec<f32>,
        /// The longest short context.
        original_context: usize,
        /// See above.
        magnitude: f32,
    },
}

impl RopeScaling {
    /// YaRN's magnitude for a stretching by `factor`: `0.1 · m · ln(factor) + 1`.
    pub fn yarn_magnitude(factor: f32, m: f32) -> f32 {
        if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 }
    }
}

impl Rope {
    /// A rotation of whole heads.
    pub fn whole(theta: f32, head_dim: usize, pairs: RopePairs) -> Self {
        Self { theta, first: 0, dims: head_dim, pairs, scaling: RopeScaling::None }
    }

    /// Refuses what no model has.
    pub(super) fn check(&self, head_dim: usize) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Config(what));
        if !self.dims.is_multiple_of(2) || self.dims == 0 || self.first + self.dims > head_dim {
            return wrong(format!(
                "rotary embedding of {} dimensions of a head of {head_dim}: it needs pairs",
                self.dims
            ));
        }
        if !(self.theta.is_finite() && self.theta > 0.0) {
            return wrong(format!("rope_theta is {}", self.theta));
        }
        let lists = match &self.scaling {
            RopeScaling::Factors(factors) => vec![factors],
            RopeScaling::Long { short, long, .. } => vec![short, long],
            _ => vec![],
        };
        for factors in lists {
            if factors.len() != self.dims / 2 || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
                return wrong(format!(
                    "{} rotary factors for {} pairs of dimensions, or some that are not positive",
                    factors.len(),
                    self.dims / 2
                ));
            }
        }
        Ok(())
    }

    /// What turned vectors are multiplied with.
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { magnitude, .. } | RopeScaling::Long { magnitude, .. } => magnitude,
            _ => 1.0,
        }
    }

    /// The inverse frequencies, scaling applied, of a model that is run with `context` positions; `dims / 2` values.
    pub fn inverse_frequencies(&self, context: usize) -> Vec<f32> {
        let plain = |i: usize| 1.0 / self.theta.powf((2 * i) as f32 / self.dims as f32);
        (0..self.dims / 2)
            .map(|i| {
                let freq = plain(i);
                match &self.scaling {
                    RopeScaling::None => freq,
                    RopeScaling::Linear(factor) => freq / factor,
                    RopeScaling::Factors(factors) => freq / factors[i],
                    RopeScaling::Long { short, long, original_context, .. } => {
                        freq / if context > *original_context { long[i] } else { short[i] }
                    }
                    RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                        let wavelength = std::f32::consts::TAU / freq;
                        if wavelength < original_context / high_freq_factor {
                            freq
                        } else if wavelength > original_context / low_freq_factor {
                            freq / factor
                        } else {
                            let smooth = (original_context / wavelength - low_freq_factor)
                                / (high_freq_factor - low_freq_factor);
                            (1.0 - smooth) * freq / factor + smooth * freq
                        }
                    }
                    RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, .. } => {
                        let kept = 1.0 - self.yarn_ramp(i, *original_context, *beta_fast, *beta_slow);
                        freq / factor * (1.0 - kept) + freq * kept
                    }
                }
            })
            .collect()
    }

    /// How far pair `i` is divided, from 0 to 1: a ramp between the pairs that turn `fast` and `slow` times in the original
    /// context.
    fn yarn_ramp(&self, i: usize, original_context: f32, fast: f32, slow: f32) -> f32 {
        let (dims, theta, original) = (self.dims as f64, f64::from(self.theta), f64::from(original_context));
        let pair = |turns: f32| {
            dims * (original / (f64::from(turns) * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
        };
        let low = pair(fast).floor().max(0.0);
        let mut high = pair(slow).ceil().min(dims - 1.0);
        if low == high {
            high += 0.001;
        }
        ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0)
    }

    /// Cosine and sine of the turn at a position by an inverse frequency. The angle is rounded to f32 as in the reference
    /// implementations; its sine is exact.
    pub fn turn(position: usize, inverse_frequency: f32) -> (f32, f32) {
        let angle = f64::from(position as f32 * inverse_frequency);
        (angle.cos() as f32, angle.sin() as f32)
    }
}
