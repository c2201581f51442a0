//! The integer kernel in plain code; the other kernels must agree with it bit by bit.

use super::PanelRef;
use crate::model::cpu::activations::{BLOCK, MAX_ROWS, RowBlock};
use crate::model::cpu::packed::{HALF, PANEL};
use crate::model::cpu::simd::multiversion;

multiversion! {
    pub(super) fn kernel(panel: PanelRef<'_>, x: &RowBlock, tile: &mut [[f32; PANEL]; MAX_ROWS]) {
        let (group, terms, lines) = (panel.group, x.terms(panel.group), panel.bytes());
        for (r, tile) in tile[..x.rows].iter_mut().enumerate() {
            for (half, acc) in tile.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                *acc = [0.0; HALF];
                for g in 0..panel.scale.len() / 2 {
                    let (block, within) = (g * group / BLOCK, g * group % BLOCK);
                    let plane = |p: usize| &x.planes[((2 * block + p) * x.rows + r) * BLOCK + within..][..group];
                    let (high, low) = (plane(0).as_chunks::<4>().0, plane(1).as_chunks::<4>().0);
                    let mut sums = [terms.bias[g * x.rows + r]; HALF];
                    for (j, (high, low)) in high.iter().zip(low).enumerate() {
                        let four = [0, 1, 2, 3].map(|i| 256 * i32::from(high[i]) + i32::from(low[i]));
                        let weights = lines[(g * group / 4 + j) * 2 + half].0.as_chunks::<4>().0;
                        for (sum, w) in sums.iter_mut().zip(weights) {
                            for i in 0..4 {
                                *sum += i32::from(w[i]) * four[i];
                            }
                        }
                    }
                    let (scale, step) = (&panel.scale[2 * g + half].0, x.scale[block * x.rows + r]);
                    for i in 0..HALF {
                        acc[i] = (sums[i] as f32).mul_add(scale[i] * step, acc[i]);
                    }
                    if let Some(offset) = panel.offset {
                        let (offset, sum) = (&offset[2 * g + half].0, terms.sum[g * x.rows + r]);
                        for i in 0..HALF {
                            acc[i] = offset[i].mul_add(sum, acc[i]);
                        }
                    }
                }
            }
        }
    }
}
