//! GGML block formats, decoded to one shape: small integers with a scale, and for some an offset, per group.
//!
//! Every supported format says `weight = scale · q + offset` with `q` in `i8`, and groups of 16 or 32 weights
//! that share `scale` and `offset`. That is exact: the scales of the k-quants are products of an f16 and a
//! small integer, which f32 holds. Formats: ggml's `Q4_0 Q4_1 Q5_0 Q5_1 Q8_0`, the k-quants from `Q2_K` to
//! `Q6_K`, and `IQ4_NL IQ4_XS`, whose integers are sixteen values out of the range of a byte.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::ModelError;
use super::cpu::packed::MatrixView;

/// Types of weights in files: dense ones, and ggml's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, non_camel_case_types)]
pub enum WeightType {
    F32,
    F16,
    BF16,
    /// 8-bit floats with 4 bits of exponent, and a scale for each block of a matrix ([`Scales`](super::cpu::packed::Scales)).
    F8E4M3,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ4_NL,
    IQ4_XS,
}

impl WeightType {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F8E4M3,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::IQ4_NL,
        Self::IQ4_XS,
    ];

    /// ggml's number, weights a block, bytes a block.
    fn facts(self) -> (u32, usize, usize) {
        match self {
            Self::F32 => (0, 1, 4),
            Self::F16 => (1, 1, 2),
            Self::BF16 => (30, 1, 2),
            // ggml has none.
            Self::F8E4M3 => (u32::MAX, 1, 1),
            Self::Q4_0 => (2, 32, 18),
            Self::Q4_1 => (3, 32, 20),
            Self::Q5_0 => (6, 32, 22),
            Self::Q5_1 => (7, 32, 24),
            Self::Q8_0 => (8, 32, 34),
            Self::Q2K => (10, 256, 84),
            Self::Q3K => (11, 256, 110),
            Self::Q4K => (12, 256, 144),
            Self::Q5K => (13, 256, 176),
            Self::Q6K => (14, 256, 210),
            Self::IQ4_NL => (20, 32, 18),
            Self::IQ4_XS => (23, 256, 136),
        }
    }

    /// The type by the number that GGUF files give it.
    pub fn from_ggml(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.facts().0 == number && *dtype != Self::F8E4M3)
    }

    /// Weights a block; 1 for dense types.
    pub fn block_size(self) -> usize {
        self.facts().1
    }

    /// Bytes a block.
    pub fn type_size(self) -> usize {
        self.facts().2
    }

    /// Bytes of a tensor; `None` where its rows are no whole blocks, or there would be too many.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let cols = *shape.last()?;
        let elements = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d))?;
        let whole = cols.is_multiple_of(self.block_size());
        whole.then(|| elements / self.block_size())?.checked_mul(self.type_size())
    }

    /// The types that weights can be quantised to when they are loaded.
    pub fn targets() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|dtype| dtype.block_size() > 1 && dtype.candle().is_some())
    }

    /// This type, or the nearest one whose blocks fill rows of `cols` weights, as llama.cpp chooses it; `None` if none does.
    pub fn fitting(self, cols: usize) -> Option<Self> {
        let smaller = match self {
            Self::Q2K | Self::Q3K => Self::Q4_0,
            Self::Q4K => Self::Q5_0,
            Self::Q5K => Self::Q5_1,
            Self::Q6K => Self::Q8_0,
            other => other,
        };
        [self, smaller].into_iter().find(|dtype| cols.is_multiple_of(dtype.block_size()))
    }

    /// candle's name for it, where candle can quantise to it.
    pub fn candle(self) -> Option<GgmlDType> {
        Some(match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4_1 => GgmlDType::Q4_1,
            Self::Q5_0 => GgmlDType::Q5_0,
            Self::Q5_1 => GgmlDType::Q5_1,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q2K => GgmlDType::Q2K,
            Self::Q3K => GgmlDType::Q3K,
            Self::Q4K => GgmlDType::Q4K,
            Self::Q5K => GgmlDType::Q5K,
            Self::Q6K => GgmlDType::Q6K,
            Self::IQ4_NL | Self::IQ4_XS | Self::F8E4M3 => return None,
        })
    }
}

impl std::str::FromStr for WeightType {
    type Err = String;

    /// A type that weights can be quantised to: `q8_0`, `q4_k`, `Q4_K` …
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |name: &str| name.to_ascii_lowercase().replace("_k", "k");
        let found = Self::targets().find(|dtype| plain(&format!("{dtype:?}")) == plain(text));
        found.ok_or_else(|| {
            let known: Vec<String> = Self::targets().map(|dtype| dtype.shown()).collect();
            format!("weights can be quantised to {}", known.join(", "))
        })
    }
}

impl WeightType {
    /// The name that users write.
    pub fn shown(self) -> String {
        format!("{self:?}").to_ascii_lowercase().replace('k', "_k")
    }
}

/// The value of an 8-bit float: a sign, four bits of exponent, three of fraction, no infinities.
pub fn f8_e4m3(bits: u8) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 0xf), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-9),
        _ => (8.0 + fraction) * 2f32.powi(exponent - 10),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// A dense matrix in bf16: the nearest values.
pub fn to_bf16(view: &MatrixView<'_>) -> Vec<u8> {
    let mut bytes = vec![0u8; 2 * view.rows * view.cols];
    bytes.par_chunks_exact_mut(2 * view.cols).enumerate().for_each(|(row, bytes)| {
        let mut values = vec![0.0; view.cols];
        view.row_f32(row, &mut values);
        for (bytes, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *bytes = bf16::from_f32(value).to_le_bytes();
        }
    });
    bytes
}

/// Quantises a dense matrix; returns the bytes of its rows.
///
/// # Errors
/// Its rows are no whole blocks, or the type is none that can be quantised to.
pub fn quantise(view: &MatrixView<'_>, dtype: WeightType) -> Result<Vec<u8>, ModelError> {
    /// Rows that are widened at a time.
    const ROWS: usize = 64;
    let failed = |e: candle_core::Error| ModelError::Unsupported(format!("quantising to {dtype:?}: {e}"));
    let theirs = dtype.candle();
    let theirs = theirs.ok_or_else(|| ModelError::Unsupported(format!("quantising to {dtype:?}")))?;
    let parts: Vec<usize> = (0..view.rows).step_by(ROWS).collect();
    let part = |&first: &usize| {
        let rows = ROWS.min(view.rows - first);
        let mut values = vec![0.0; rows * view.cols];
        for (row, values) in values.chunks_exact_mut(view.cols).enumerate() {
            view.row_f32(first + row, values);
        }
        let tensor = Tensor::from_vec(values, (rows, view.cols), &Device::Cpu)?;
        Ok(QTensor::quantize(&tensor, theirs)?.data()?.into_owned())
    };
    let parts: Result<Vec<Vec<u8>>, _> = parts.par_iter().map(part).collect();
    Ok(parts.map_err(failed)?.concat())
}

/// How one format arranges its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    /// The type.
    pub dtype: WeightType,
    /// Weights a block.
    pub block: usize,
    /// Bytes a block.
    pub bytes: usize,
    /// Weights that share a scale (16 or 32).
    pub group: usize,
    /// Whether groups carry an offset.
    pub has_offset: bool,
    /// Bits of an integer.
    pub bits: u32,
    /// Added to an integer it makes it unsigned.
    pub zero: i32,
}

impl BlockFormat {
    /// The format of a ggml type; `None` for dense types and for those not supported.
    pub fn of(dtype: WeightType) -> Option<Self> {
        let (group, has_offset, bits, zero) = match dtype {
            WeightType::Q4_0 => (32, false, 4, 8),
            WeightType::Q5_0 => (32, false, 5, 16),
            WeightType::Q8_0 => (32, false, 8, 128),
            WeightType::Q4_1 | WeightType::Q4K => (32, true, 4, 0),
            WeightType::Q5_1 | WeightType::Q5K => (32, true, 5, 0),
            WeightType::Q2K => (16, true, 2, 0),
            WeightType::Q3K => (16, false, 3, 4),
            WeightType::Q6K => (16, false, 6, 32),
            WeightType::IQ4_NL | WeightType::IQ4_XS => (32, false, 8, 128),
            _ => return None,
        };
        let (block, bytes) = (dtype.block_size(), dtype.type_size());
        Some(Self { dtype, block, bytes, group, has_offset, bits, zero })
    }

    /// Groups a block.
    pub fn groups(&self) -> usize {
        self.block / self.group
    }

    /// Decodes one block of `self.bytes` bytes into `self.block` integers and `self.groups()` scales and
    /// offsets (zero where the format has none).
    pub fn decode_block(&self, bytes: &[u8], q: &mut [i8], scale: &mut [f32], offset: &mut [f32]) {
        debug_assert!(bytes.len() == self.bytes && q.len() == self.block && scale.len() == self.groups());
        offset.fill(0.0);
        match self.dtype {
            WeightType::Q4_0 => {
                scale[0] = half_at(bytes, 0);
                nibbles(&bytes[2..], q, |low_or_high, _| low_or_high as i8 - 8);
            }
            WeightType::Q4_1 => {
                (scale[0], offset[0]) = (half_at(bytes, 0), half_at(bytes, 2));
                nibbles(&bytes[4..], q, |n, _| n as i8);
            }
            WeightType::Q5_0 => {
                scale[0] = half_at(bytes, 0);
                let high = u32_at(bytes, 2);
                nibbles(&bytes[6..], q, |n, i| (n | fifth_bit(high, i)) as i8 - 16);
            }
            WeightType::Q5_1 => {
                (scale[0], offset[0]) = (half_at(bytes, 0), half_at(bytes, 2));
                let high = u32_at(bytes, 4);
                nibbles(&bytes[8..], q, |n, i| (n | fifth_bit(high, i)) as i8);
            }
            WeightType::Q8_0 => {
                scale[0] = half_at(bytes, 0);
                for (q, &b) in q.iter_mut().zip(&bytes[2..34]) {
                    *q = b as i8;
                }
            }
            WeightType::Q4K => decode_q4k_q5k(bytes, None, &bytes[16..144], q, scale, offset),
            WeightType::Q5K => decode_q4k_q5k(bytes, Some(&bytes[16..48]), &bytes[48..176], q, scale, offset),
            WeightType::Q6K => decode_q6k(bytes, q, scale),
            WeightType::Q2K => decode_q2k(bytes, q, scale, offset),
            WeightType::Q3K => decode_q3k(bytes, q, scale),
            WeightType::IQ4_NL => {
                scale[0] = half_at(bytes, 0);
                nibbles(&bytes[2..], q, |n, _| IQ4[usize::from(n)]);
            }
            WeightType::IQ4_XS => decode_iq4_xs(bytes, q, scale),
            _ => unreachable!("BlockFormat::of admits no other type"),
        }
    }

    /// Dequantises a row of whole blocks to f32.
    pub fn dequantize_row(&self, bytes: &[u8], out: &mut [f32]) {
        let mut q = [0i8; 256];
        let (mut scale, mut offset) = ([0f32; 16], [0f32; 16]);
        let groups = self.groups();
        for (bytes, out) in bytes.chunks_exact(self.bytes).zip(out.chunks_exact_mut(self.block)) {
            self.decode_block(bytes, &mut q[..self.block], &mut scale[..groups], &mut offset[..groups]);
            for (i, out) in out.iter_mut().enumerate() {
                *out = f32::from(q[i]) * scale[i / self.group] + offset[i / self.group];
            }
        }
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Bit `i` of `high`, as the fifth bit of a 5-bit number.
fn fifth_bit(high: u32, i: usize) -> u8 {
    (((high >> i) & 1) << 4) as u8
}

/// 16 bytes hold 32 nibbles: the low ones are weights 0–15, the high ones 16–31.
fn nibbles(packed: &[u8], q: &mut [i8], value: impl Fn(u8, usize) -> i8) {
    for (i, &byte) in packed[..16].iter().enumerate() {
        q[i] = value(byte & 0xf, i);
        q[i + 16] = value(byte >> 4, i + 16);
    }
}

/// The 6-bit scale and minimum of group `j` of a Q4_K or Q5_K block, from its 12 packed bytes.
fn scale_min_k4(j: usize, s: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 0xf) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4))
    };
    (f32::from(scale), f32::from(min))
}

/// Q4_K and Q5_K share everything but the fifth bits (`high`).
fn decode_q4k_q5k(
    bytes: &[u8],
    high: Option<&[u8]>,
    low: &[u8],
    q: &mut [i8],
    scale: &mut [f32],
    offset: &mut [f32],
) {
    let (d, dmin) = (half_at(bytes, 0), half_at(bytes, 2));
    for j in 0..8 {
        let (s, m) = scale_min_k4(j, &bytes[4..16]);
        (scale[j], offset[j]) = (d * s, -(dmin * m));
        // Groups 2i and 2i+1 are the low and the high nibbles of the same 32 bytes.
        let packed = &low[32 * (j / 2)..][..32];
        for l in 0..32 {
            let nibble = if j % 2 == 0 { packed[l] & 0xf } else { packed[l] >> 4 };
            let fifth = high.map_or(0, |high| ((high[l] >> j) & 1) << 4);
            q[32 * j + l] = (nibble | fifth) as i8;
        }
    }
}

fn decode_q6k(bytes: &[u8], q: &mut [i8], scale: &mut [f32]) {
    let d = half_at(bytes, 208);
    for (scale, &s) in scale.iter_mut().zip(&bytes[192..208]) {
        *scale = d * f32::from(s as i8);
    }
    for half in 0..2 {
        let (low, high) = (&bytes[64 * half..][..64], &bytes[128 + 32 * half..][..32]);
        let q = &mut q[128 * half..][..128];
        for l in 0..32 {
            for (quarter, shift) in [0, 2, 4, 6].into_iter().enumerate() {
                let byte = low[l + 32 * (quarter % 2)];
                let nibble = if quarter < 2 { byte & 0xf } else { byte >> 4 };
                q[l + 32 * quarter] = (nibble | (((high[l] >> shift) & 3) << 4)) as i8 - 32;
            }
        }
    }
}

/// Q2_K: 16 bytes of scales and minima, 64 of two-bit integers, then the factors of both.
fn decode_q2k(bytes: &[u8], q: &mut [i8], scale: &mut [f32], offset: &mut [f32]) {
    let (d, dmin) = (half_at(bytes, 80), half_at(bytes, 82));
    for (g, &s) in bytes[..16].iter().enumerate() {
        scale[g] = d * f32::from(s & 0xf);
        offset[g] = -(dmin * f32::from(s >> 4));
    }
    two_bits(&bytes[16..80], q);
}

/// 64 bytes hold 256 two-bit integers: in each half, the lowest bits of 32 bytes, then the next ones.
fn two_bits(packed: &[u8], q: &mut [i8]) {
    for (i, q) in q.iter_mut().enumerate() {
        let (half, shift, at) = (i / 128, i % 128 / 32 * 2, i % 32);
        *q = ((packed[32 * half + at] >> shift) & 3) as i8;
    }
}

/// Q3_K: 32 bytes of third bits (set: nothing is taken off), 64 of the others, 12 of scales of six bits, a factor.
fn decode_q3k(bytes: &[u8], q: &mut [i8], scale: &mut [f32]) {
    let (high, low, s, d) = (&bytes[..32], &bytes[32..96], &bytes[96..108], half_at(bytes, 108));
    for (g, scale) in scale.iter_mut().enumerate() {
        let four = if g < 8 { s[g] & 0xf } else { s[g - 8] >> 4 };
        let two = (s[8 + g % 4] >> (2 * (g / 4))) & 3;
        *scale = d * (f32::from(four | (two << 4)) - 32.0);
    }
    two_bits(low, q);
    for (i, q) in q.iter_mut().enumerate() {
        if (high[i % 32] >> (i / 32)) & 1 == 0 {
            *q -= 4;
        }
    }
}

/// The sixteen values of IQ4's integers.
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// IQ4_XS: a factor, two bits of each of eight scales, four of each, then 128 bytes of nibbles.
fn decode_iq4_xs(bytes: &[u8], q: &mut [i8], scale: &mut [f32]) {
    let (d, high) = (half_at(bytes, 0), u16::from_le_bytes([bytes[2], bytes[3]]));
    for (g, scale) in scale.iter_mut().enumerate() {
        let four = (bytes[4 + g / 2] >> (4 * (g % 2))) & 0xf;
        let two = ((high >> (2 * g)) & 3) as u8;
        *scale = d * (f32::from(four | (two << 4)) - 32.0);
        nibbles(&bytes[8 + 16 * g..], &mut q[32 * g..][..32], |n, _| IQ4[usize::from(n)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// candle dequantises what candle quantised: ours must say the same numbers.
    #[test]
    fn agrees_with_candle() {
        let (rows, cols) = (3, 512);
        let values: Vec<f32> = (0..rows * cols)
            .map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * (1.0 + i as f32 / 700.0))
            .collect();
        let tensor = Tensor::from_vec(values, (rows, cols), &Device::Cpu).expect("tensor");
        for dtype in WeightType::ALL.into_iter().filter(|dtype| dtype.block_size() > 1) {
            let Some(theirs) = dtype.candle() else { continue };
            assert_eq!((dtype.block_size(), dtype.type_size()), (theirs.block_size(), theirs.type_size()));
            let quantized = QTensor::quantize(&tensor, theirs).expect("quantize");
            let theirs: Vec<f32> = quantized
                .dequantize(&Device::Cpu)
                .and_then(|t| t.flatten_all()?.to_vec1())
                .expect("dequantize");
            let bytes = quantized.data().expect("data");
            let mut ours = vec![0.0; rows * cols];
            BlockFormat::of(dtype).expect("supported").dequantize_row(&bytes, &mut ours);
            for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-3), "{dtype:?} weight {i}: {a} and not {b}");
            }
        }
    }

    #[test]
    fn eight_bit_floats_have_their_values() {
        let known = [
            (0x00, 0.0),
            (0x01, 2f32.powi(-9)),
            (0x08, 2f32.powi(-6)),
            (0x38, 1.0),
            (0x3c, 1.5),
            (0x7e, 448.0),
        ];
        for (bits, value) in known {
            assert_eq!((f8_e4m3(bits), f8_e4m3(bits | 0x80)), (value, -value), "{bits:#x}");
        }
        assert!(f8_e4m3(0x7f).is_nan());
        assert!((0..0x7e).all(|bits| f8_e4m3(bits) < f8_e4m3(bits + 1)));
    }

    /// Rows in parts say what candle says of the whole, and names go both ways.
    #[test]
    fn dense_weights_are_quantised() {
        let (rows, cols) = (130, 256);
        let values: Vec<f32> = (0..rows * cols).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = MatrixView::new(WeightType::F32, rows, cols, &bytes);
        let tensor = Tensor::from_vec(values, (rows, cols), &Device::Cpu).expect("tensor");
        for dtype in WeightType::targets() {
            let whole = QTensor::quantize(&tensor, dtype.candle().expect("a target")).expect("quantize");
            assert_eq!(
                quantise(&view, dtype).expect("a target"),
                &whole.data().expect("data")[..],
                "{dtype:?}"
            );
            assert_eq!(dtype.shown().parse(), Ok(dtype));
        }
        assert_eq!("Q4_K".parse(), Ok(WeightType::Q4K));
        assert!("iq4_nl".parse::<WeightType>().is_err_and(|why| why.contains("q8_0")));
        assert_eq!(WeightType::Q4K.fitting(896), Some(WeightType::Q5_0));
        assert_eq!(WeightType::Q8_0.fitting(100), None);
    }

    #[derive(serde::Deserialize)]
    struct Golden {
        name: String,
        bytes: Vec<u8>,
        values: Vec<f32>,
    }

    /// Blocks of random bytes, as ggml's own Python package reads them (`tests/goldens/blocks.py`).
    #[test]
    fn agrees_with_ggml() {
        let goldens = include_str!("../../tests/goldens/blocks.json");
        let goldens: Vec<Golden> = serde_json::from_str(goldens).expect("JSON");
        let blocks = || WeightType::ALL.into_iter().filter(|dtype| dtype.block_size() > 1);
        for dtype in blocks() {
            let golden = goldens.iter().find(|golden| golden.name == format!("{dtype:?}"));
            let golden = golden.unwrap_or_else(|| panic!("no golden of {dtype:?}"));
            let mut ours = vec![0.0; golden.values.len()];
            BlockFormat::of(dtype).expect("supported").dequantize_row(&golden.bytes, &mut ours);
            for (i, (a, b)) in ours.iter().zip(&golden.values).enumerate() {
                assert!((a - b).abs() <= 1e-6 * b.abs().max(1e-3), "{dtype:?} weight {i}: {a} and not {b}");
            }
        }
    }
}
