//! Products of a batch of f32 rows with packed weights: `out[t][n] = Σ_k x[t][k] · w[n][k]`.
//!
//! Dense weights are multiplied in f32 ([`super::dense`]), quantised ones in integers ([`super::integer`]). In
//! both, each output is one fixed chain of operations, so a row's bits do not depend on its neighbours. Threads
//! share the panels; with many rows, blocks of rows that fit the cache go one after the other.

use super::activations::Activations;
use super::packed::{PANEL, PackedMatrix, Panels};
use super::{Isa, dense, integer};
use crate::team;

/// Bytes of activations that should stay in a core's second-level cache while the panels pass by.
const CACHED: usize = 1 << 20;

/// One product: the weights, and where the result goes (`rows × weights.rows`, row-major).
pub struct Product<'a> {
    /// The weights.
    pub weights: &'a PackedMatrix,
    /// The result.
    pub out: &'a mut [f32],
}

/// Scratch space of the products: the activations in kernel order.
#[derive(Debug, Default)]
pub struct Scratch {
    dense: dense::Rows,
    integers: Activations,
}

/// A panel in the form that a kernel wants.
#[derive(Default)]
struct Unpacked {
    widened: Vec<f32>,
    integers: integer::Workspace,
}

/// A result that several tasks fill, each with columns of its own.
#[derive(Clone, Copy)]
pub(super) struct Output {
    ptr: *mut f32,
    stride: usize,
}

// SAFETY: it only carries the address; `write` asks its callers to keep to columns of their own.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// Over rows of `stride` values each.
    pub fn new(out: &mut [f32], stride: usize) -> Self {
        Self { ptr: out.as_mut_ptr(), stride }
    }

    /// Writes a part of a row.
    ///
    /// # Safety
    /// The part lies in the slice that this was made of, which still lives, and nobody else uses it meanwhile.
    pub unsafe fn write(self, row: usize, column: usize, values: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.ptr.add(row * self.stride + column);
            // A length that is known becomes a few vector stores.
            match <&[f32; PANEL]>::try_from(values) {
                Ok(values) => at.cast::<[f32; PANEL]>().write_unaligned(*values),
                Err(_) => std::ptr::copy_nonoverlapping(values.as_ptr(), at, values.len()),
            }
        }
    }
}

/// Splits `rows` rows into as few blocks of at most `most` as will do, of equal size: first row and number of rows of each.
pub(super) fn equal_blocks(rows: usize, most: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    let mut first = 0;
    (0..count).map(move |i| {
        let block = (first, (rows - first).div_ceil(count - i));
        first += block.1;
        block
    })
}

/// Multiplies `rows` rows of activations with several matrices that share them (q, k and v; gate and up).
///
/// # Panics
/// When a shape does not fit; shapes are checked when a model is loaded.
pub fn matmul(x: &[f32], rows: usize, products: &mut [Product<'_>], scratch: &mut Scratch) {
    let Some(first) = products.first() else { return };
    let cols = first.weights.cols;
    assert_eq!(x.len(), rows * cols, "activations do not fit the weights");
    let mut units = Vec::new();
    for (index, product) in products.iter().enumerate() {
        assert_eq!((product.weights.cols, product.out.len()), (cols, rows * product.weights.rows));
        units.extend((0..product.weights.rows.div_ceil(PANEL)).map(|panel| (index, panel)));
    }
    let targets: Vec<(&PackedMatrix, Output)> =
        products.iter_mut().map(|p| (p.weights, Output::new(p.out, p.weights.rows))).collect();
    let is_quantised =
        |(weights, _): &(&PackedMatrix, Output)| matches!(weights.panels, Panels::Quantised(_));
    let (any_quantised, any_dense) = (targets.iter().any(is_quantised), !targets.iter().all(is_quantised));

    let at_once = (CACHED / (2 * cols)).next_multiple_of(16);
    for first in (0..rows).step_by(at_once) {
        let rows = at_once.min(rows - first);
        let x = &x[first * cols..][..rows * cols];
        if any_quantised {
            scratch.integers.quantise(x, rows, cols);
        }
        if any_dense {
            scratch.dense.pack(x, rows, cols);
        }
        let (scratch, targets) = (&*scratch, &targets);
        team::share(units.len(), Unpacked::default, |unpacked, unit| {
            let (index, panel) = units[unit];
            let (matrix, out) = targets[index];
            let column = panel * PANEL;
            let width = PANEL.min(matrix.rows - column);
            let put = |row: usize, lanes: &[f32; PANEL]| {
                // SAFETY: row < rows and column + width <= the output's stride, whose length was checked above; no
                // other task writes these columns.
                unsafe { out.write(first + row, column, &lanes[..width]) };
            };
            match &matrix.panels {
                Panels::Quantised(weights) => {
                    let workspace = &mut unpacked.integers;
                    integer::multiply(Isa::detect(), weights, panel, cols, &scratch.integers, workspace, put);
                }
                panels => dense::multiply(panels, panel, cols, &scratch.dense, &mut unpacked.widened, put),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cpu::packed::MatrixView;
    use crate::model::quant::WeightType;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn product(weights: &PackedMatrix, x: &[f32], rows: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows * weights.rows];
        matmul(x, rows, &mut [Product { weights, out: &mut out }], &mut Scratch::default());
        out
    }

    /// Against a plain f64 product over the dequantised weights, for every format, with a row count that is
    /// not a multiple of the panel; and each row alone gives the same bits as in the batch.
    #[test]
    fn agrees_with_f64_and_with_itself_in_any_batch() {
        let (n, k, rows) = (70, 768, 40);
        let values = noise(n * k, 1);
        let x = noise(rows * k, 2);
        let tensor = Tensor::from_vec(values, (n, k), &Device::Cpu).expect("tensor");
        for (dtype, candles) in WeightType::ALL.into_iter().filter_map(|dtype| Some((dtype, dtype.candle()?)))
        {
            let quantized = QTensor::quantize(&tensor, candles).expect("quantize");
            let bytes = quantized.data().expect("data");
            let view = MatrixView::new(dtype, n, k, &bytes);
            let packed = PackedMatrix::pack(&view);
            let batch = product(&packed, &x, rows);
            let mut w = vec![0.0; k];
            for j in 0..n {
                view.row_f32(j, &mut w);
                for t in 0..rows {
                    let x = &x[t * k..][..k];
                    let truth: f64 = w.iter().zip(x).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    let ours = f64::from(batch[t * n + j]);
                    assert!((ours - truth).abs() < 8e-4, "{dtype:?} [{t}][{j}]: {ours} and not {truth}");
                }
            }
            for size in [1, 2, 3, 5, 7, 12, 13, 25] {
                let part = product(&packed, &x[k..][..size * k], size);
                assert_eq!(part, batch[n..][..size * n], "{dtype:?}: a batch of {size} differs");
            }
        }
    }
}
