//! GGML block formats, decoded to one shape: small integers with a scale, and for some an offset, per group.
//!
//! Every supported format says `weight = scale · q + offset` with `q` in `i8`, and groups of 16 or 32 weights
//! that share `scale` and `offset`. That is exact: the scales of the k-quants are products of an f16 and a
//! small integer, which f32 holds. Formats: ggml's `Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K`.

use candle_core::quantized::GgmlDType;
use half::f16;

/// How one format arranges its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFormat {
    /// ggml's type.
    pub dtype: GgmlDType,
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
    pub fn of(dtype: GgmlDType) -> Option<Self> {
        let (group, has_offset, bits, zero) = match dtype {
            GgmlDType::Q4_0 => (32, false, 4, 8),
            GgmlDType::Q5_0 => (32, false, 5, 16),
            GgmlDType::Q8_0 => (32, false, 8, 128),
            GgmlDType::Q4_1 | GgmlDType::Q4K => (32, true, 4, 0),
            GgmlDType::Q5_1 | GgmlDType::Q5K => (32, true, 5, 0),
            GgmlDType::Q6K => (16, false, 6, 32),
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
            GgmlDType::Q4_0 => {
                scale[0] = half_at(bytes, 0);
                nibbles(&bytes[2..], q, |low_or_high, _| low_or_high as i8 - 8);
            }
            GgmlDType::Q4_1 => {
                (scale[0], offset[0]) = (half_at(bytes, 0), half_at(bytes, 2));
                nibbles(&bytes[4..], q, |n, _| n as i8);
            }
            GgmlDType::Q5_0 => {
                scale[0] = half_at(bytes, 0);
                let high = u32_at(bytes, 2);
                nibbles(&bytes[6..], q, |n, i| (n | fifth_bit(high, i)) as i8 - 16);
            }
            GgmlDType::Q5_1 => {
                (scale[0], offset[0]) = (half_at(bytes, 0), half_at(bytes, 2));
                let high = u32_at(bytes, 4);
                nibbles(&bytes[8..], q, |n, i| (n | fifth_bit(high, i)) as i8);
            }
            GgmlDType::Q8_0 => {
                scale[0] = half_at(bytes, 0);
                for (q, &b) in q.iter_mut().zip(&bytes[2..34]) {
                    *q = b as i8;
                }
            }
            GgmlDType::Q4K => decode_q4k_q5k(bytes, None, &bytes[16..144], q, scale, offset),
            GgmlDType::Q5K => decode_q4k_q5k(bytes, Some(&bytes[16..48]), &bytes[48..176], q, scale, offset),
            GgmlDType::Q6K => decode_q6k(bytes, q, scale),
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    /// candle dequantises what candle quantised: ours must say the same numbers.
    #[test]
    fn agrees_with_candle() {
        let (rows, cols) = (3, 512);
        let values: Vec<f32> = (0..rows * cols)
            .map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * (1.0 + i as f32 / 700.0))
            .collect();
        let tensor = Tensor::from_vec(values, (rows, cols), &Device::Cpu).expect("tensor");
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let quantized = QTensor::quantize(&tensor, dtype).expect("quantize");
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
}
