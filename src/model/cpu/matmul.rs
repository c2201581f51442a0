//! Products of a batch of f32 rows with packed weights: `out[t][n] = Σ_k x[t][k] · w[n][k]`.
//!
//! Activations stay f32 and weights are exact, so the result is the F32 truth up to the order of additions.
//! Each output is one chain of fused multiply-adds over k = 0, 1, 2 …, whatever the batch, the blocking, the
//! threads and the instruction set: that is what makes a row's bits independent of its neighbours.
//!
//! A kernel call handles up to [`MAX_ROWS`] rows against one or two panels, so a weight that was turned into
//! f32 is used once a row; with many rows a panel is turned into f32 once and kept in the L2 cache.
//! One row is bound by memory (the weights are read once), many rows by the multiply-add units.

use rayon::prelude::*;

use super::Isa;
use super::packed::{PANEL, PackedMatrix, Panels};

/// Most rows in one kernel call: 12 rows × 2 vectors of accumulators leave registers for the weights.
const MAX_ROWS: usize = 12;

/// From this number of row blocks on, a panel is turned into f32 once for all of them.
const UNPACK_FROM_BLOCKS: usize = 3;

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
    x: Vec<f32>,
}

/// A block of rows: `[k][rows]` activations, starting at `offset` of the scratch space.
#[derive(Clone, Copy)]
struct RowBlock {
    first: usize,
    rows: usize,
    offset: usize,
}

/// The shared output; threads write disjoint columns of it.
#[derive(Clone, Copy)]
struct Output {
    ptr: *mut f32,
    stride: usize,
}

// SAFETY: every panel is handled by exactly one task, and panels own disjoint columns.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// Multiplies `rows` rows of activations with several matrices that share them (q, k and v; gate and up).
///
/// # Panics
/// When a shape does not fit; shapes are checked when a model is loaded.
pub fn matmul(x: &[f32], rows: usize, products: &mut [Product<'_>], scratch: &mut Scratch) {
    let Some(first) = products.first() else { return };
    let cols = first.weights.cols;
    assert_eq!(x.len(), rows * cols, "activations do not fit the weights");
    let blocks = pack_rows(x, rows, cols, scratch);
    let panels_at_once = if rows <= 6 { 2 } else { 1 };

    let mut units = Vec::new();
    for (index, product) in products.iter().enumerate() {
        assert_eq!((product.weights.cols, product.out.len()), (cols, rows * product.weights.rows));
        let panels = product.weights.rows.div_ceil(PANEL);
        units.extend((0..panels).step_by(panels_at_once).map(|p| (index, p, panels_at_once.min(panels - p))));
    }
    let targets: Vec<(&PackedMatrix, Output)> = products
        .iter_mut()
        .map(|p| (p.weights, Output { ptr: p.out.as_mut_ptr(), stride: p.weights.rows }))
        .collect();
    let (x, targets, blocks) = (&scratch.x, &targets, &blocks);
    units.into_par_iter().for_each_init(Vec::new, |unpacked: &mut Vec<f32>, (index, panel, count)| {
        let (weights, out) = targets[index];
        run_unit(weights, out, panel, count, x, blocks, unpacked);
    });
}

/// Splits the rows into blocks of equal size, each stored `[k][rows]`.
fn pack_rows(x: &[f32], rows: usize, cols: usize, scratch: &mut Scratch) -> Vec<RowBlock> {
    scratch.x.resize(rows * cols, 0.0);
    let count = rows.div_ceil(MAX_ROWS).max(1);
    let mut blocks = Vec::with_capacity(count);
    let mut first = 0;
    for i in 0..count {
        let size = (rows - first).div_ceil(count - i);
        blocks.push(RowBlock { first, rows: size, offset: first * cols });
        first += size;
    }
    let pack = |(block, packed): (&RowBlock, &mut [f32])| {
        for r in 0..block.rows {
            let row = &x[(block.first + r) * cols..][..cols];
            for (k, &v) in row.iter().enumerate() {
                packed[k * block.rows + r] = v;
            }
        }
    };
    let mut rest = scratch.x.as_mut_slice();
    let mut parts = Vec::with_capacity(count);
    for block in &blocks {
        let (part, tail) = rest.split_at_mut(block.rows * cols);
        parts.push((block, part));
        rest = tail;
    }
    if count > 2 {
        parts.into_par_iter().for_each(pack)
    } else {
        parts.into_iter().for_each(pack)
    }
    blocks
}

/// Everything a kernel needs to know about the panels it reads.
#[derive(Clone, Copy)]
struct PanelRef<'a> {
    weights: Elements<'a>,
    cols: usize,
}

#[derive(Clone, Copy)]
enum Elements<'a> {
    Int8 { q: &'a [i8], scale: &'a [f32], offset: Option<&'a [f32]>, group: usize },
    F32(&'a [f32]),
    F16(&'a [u16]),
    Bf16(&'a [u16]),
}

fn panel_ref(matrix: &PackedMatrix, panel: usize) -> PanelRef<'_> {
    let size = PANEL * matrix.cols;
    let weights = match &matrix.panels {
        Panels::Int8 { q, scale, offset, group } => {
            let groups = PANEL * (matrix.cols / group);
            Elements::Int8 {
                q: &q[panel * size..][..size],
                scale: &scale[panel * groups..][..groups],
                offset: offset.as_ref().map(|o| &o[panel * groups..][..groups]),
                group: *group,
            }
        }
        Panels::F32(w) => Elements::F32(&w[panel * size..][..size]),
        Panels::F16(w) => Elements::F16(&w[panel * size..][..size]),
        Panels::Bf16(w) => Elements::Bf16(&w[panel * size..][..size]),
    };
    PanelRef { weights, cols: matrix.cols }
}

/// One task: `count` (1 or 2) panels from `panel` on against all row blocks.
fn run_unit(
    matrix: &PackedMatrix,
    out: Output,
    panel: usize,
    count: usize,
    x: &[f32],
    blocks: &[RowBlock],
    unpacked: &mut Vec<f32>,
) {
    let mut tile = [0f32; 2 * MAX_ROWS * PANEL];
    let mut first = panel_ref(matrix, panel);
    if blocks.len() >= UNPACK_FROM_BLOCKS && !matches!(first.weights, Elements::F32(_)) {
        unpacked.resize(PANEL * matrix.cols, 0.0);
        unpack(first, unpacked);
        first.weights = Elements::F32(unpacked);
    }
    let second = (count == 2).then(|| panel_ref(matrix, panel + 1));
    for block in blocks {
        let x = &x[block.offset..][..block.rows * matrix.cols];
        let tile = &mut tile[..count * block.rows * PANEL];
        kernel(first, second, x, block.rows, tile);
        for (p, tile) in tile.chunks_exact(block.rows * PANEL).enumerate() {
            let column = (panel + p) * PANEL;
            let width = PANEL.min(matrix.rows - column);
            for (r, lanes) in tile.chunks_exact(PANEL).enumerate() {
                let at = (block.first + r) * out.stride + column;
                // SAFETY: row < rows and column + width <= stride, so the range lies in the output, whose
                // length `matmul` checked; no other task writes these columns.
                unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), out.ptr.add(at), width) };
            }
        }
    }
}

/// Turns one panel into f32, with the same rounding as the kernels.
fn unpack(panel: PanelRef<'_>, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect() == Isa::Avx512 {
        // SAFETY: the instruction set was detected; `out` has the panel's size.
        unsafe { avx512::unpack(panel, out) };
        return;
    }
    portable::unpack(panel, out);
}

/// Multiplies `rows` rows with one or two panels; `tile` is `[panel][row][32]`.
fn kernel(a: PanelRef<'_>, b: Option<PanelRef<'_>>, x: &[f32], rows: usize, tile: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect() == Isa::Avx512 {
        // SAFETY: the instruction set was detected; sizes were checked by `matmul` and `panel_ref`.
        unsafe { avx512::kernel(a, b, x, rows, tile) };
        return;
    }
    let (first, second) = tile.split_at_mut(rows * PANEL);
    portable::kernel(a, x, rows, first);
    if let Some(b) = b {
        portable::kernel(b, x, rows, second);
    }
}

mod portable {
    use super::{Elements, MAX_ROWS, PANEL, PanelRef};
    use crate::model::cpu::simd::multiversion;
    use half::{bf16, f16};

    #[inline(always)]
    fn weights_at(panel: &PanelRef<'_>, k: usize, out: &mut [f32; PANEL]) {
        match panel.weights {
            Elements::Int8 { q, scale, offset, group } => {
                let (q, scale) = (&q[k * PANEL..][..PANEL], &scale[k / group * PANEL..][..PANEL]);
                match offset {
                    Some(offset) => {
                        let offset = &offset[k / group * PANEL..][..PANEL];
                        for i in 0..PANEL {
                            out[i] = f32::from(q[i]).mul_add(scale[i], offset[i]);
                        }
                    }
                    None => {
                        for i in 0..PANEL {
                            out[i] = f32::from(q[i]) * scale[i];
                        }
                    }
                }
            }
            Elements::F32(w) => out.copy_from_slice(&w[k * PANEL..][..PANEL]),
            Elements::F16(w) => {
                for (out, &w) in out.iter_mut().zip(&w[k * PANEL..][..PANEL]) {
                    *out = f16::from_bits(w).to_f32();
                }
            }
            Elements::Bf16(w) => {
                for (out, &w) in out.iter_mut().zip(&w[k * PANEL..][..PANEL]) {
                    *out = bf16::from_bits(w).to_f32();
                }
            }
        }
    }

    multiversion! {
        pub(super) fn unpack(panel: PanelRef<'_>, out: &mut [f32]) {
            for (k, out) in out.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                weights_at(&panel, k, out);
            }
        }
    }

    multiversion! {
        pub(super) fn kernel(panel: PanelRef<'_>, x: &[f32], rows: usize, tile: &mut [f32]) {
            let mut acc = [[0f32; PANEL]; MAX_ROWS];
            let mut w = [0f32; PANEL];
            for k in 0..panel.cols {
                weights_at(&panel, k, &mut w);
                for (acc, &x) in acc.iter_mut().zip(&x[k * rows..][..rows]) {
                    for i in 0..PANEL {
                        acc[i] = w[i].mul_add(x, acc[i]);
                    }
                }
            }
            for (tile, acc) in tile.as_chunks_mut::<PANEL>().0.iter_mut().zip(&acc) {
                *tile = *acc;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Elements, PANEL, PanelRef};
    use std::arch::x86_64::*;

    /// Steps of k between a prefetch and its use: 2 KiB ahead.
    const PREFETCH: usize = 64;

    const INT8: u8 = 0;
    const INT8_OFFSET: u8 = 1;
    const F32: u8 = 2;
    const F16: u8 = 3;
    const BF16: u8 = 4;

    /// Pointers into one panel.
    #[derive(Clone, Copy)]
    struct Raw {
        w: *const u8,
        scale: *const f32,
        offset: *const f32,
    }

    impl Raw {
        /// The panel's pointers, its kind, and how many k share a scale.
        fn of(panel: PanelRef<'_>) -> (Self, u8, usize) {
            let none = std::ptr::null();
            match panel.weights {
                Elements::Int8 { q, scale, offset: None, group } => {
                    (Raw { w: q.as_ptr().cast(), scale: scale.as_ptr(), offset: none }, INT8, group)
                }
                Elements::Int8 { q, scale, offset: Some(o), group } => (
                    Raw { w: q.as_ptr().cast(), scale: scale.as_ptr(), offset: o.as_ptr() },
                    INT8_OFFSET,
                    group,
                ),
                Elements::F32(w) => {
                    (Raw { w: w.as_ptr().cast(), scale: none, offset: none }, F32, panel.cols)
                }
                Elements::F16(w) => {
                    (Raw { w: w.as_ptr().cast(), scale: none, offset: none }, F16, panel.cols)
                }
                Elements::Bf16(w) => {
                    (Raw { w: w.as_ptr().cast(), scale: none, offset: none }, BF16, panel.cols)
                }
            }
        }
    }

    /// The 32 weights at `k` in f32.
    ///
    /// # Safety
    /// AVX-512 F and BW; `w` points to a panel of this kind with more than `k` entries.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn load<const KIND: u8>(w: *const u8, k: usize, s: [__m512; 2], o: [__m512; 2]) -> [__m512; 2] {
        // SAFETY: the caller's promise; all loads are unaligned.
        unsafe {
            match KIND {
                INT8 | INT8_OFFSET => {
                    // The weights come from memory once a pass; ask for them a few hundred steps ahead. A
                    // prefetch past the end of the panel reads nothing.
                    _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add((k + PREFETCH) * PANEL).cast());
                    let q = _mm256_loadu_si256(w.add(k * PANEL).cast());
                    let low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(q)));
                    let high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256::<1>(q)));
                    if KIND == INT8 {
                        [_mm512_mul_ps(low, s[0]), _mm512_mul_ps(high, s[1])]
                    } else {
                        [_mm512_fmadd_ps(low, s[0], o[0]), _mm512_fmadd_ps(high, s[1], o[1])]
                    }
                }
                F32 => {
                    let w = w.cast::<f32>().add(k * PANEL);
                    [_mm512_loadu_ps(w), _mm512_loadu_ps(w.add(16))]
                }
                F16 => {
                    let w = w.cast::<u16>().add(k * PANEL);
                    [
                        _mm512_cvtph_ps(_mm256_loadu_si256(w.cast())),
                        _mm512_cvtph_ps(_mm256_loadu_si256(w.add(16).cast())),
                    ]
                }
                _ => {
                    let w = w.cast::<u16>().add(k * PANEL);
                    let widen = |v| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(v)));
                    [widen(_mm256_loadu_si256(w.cast())), widen(_mm256_loadu_si256(w.add(16).cast()))]
                }
            }
        }
    }

    /// The scales (and offsets) of a group.
    ///
    /// # Safety
    /// As [`load`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn group_at<const KIND: u8>(panel: Raw, group: usize) -> ([__m512; 2], [__m512; 2]) {
        let zero = [_mm512_setzero_ps(); 2];
        // SAFETY: the caller's promise.
        unsafe {
            let pair = |p: *const f32| {
                [_mm512_loadu_ps(p.add(group * PANEL)), _mm512_loadu_ps(p.add(group * PANEL + 16))]
            };
            match KIND {
                INT8 => (pair(panel.scale), zero),
                INT8_OFFSET => (pair(panel.scale), pair(panel.offset)),
                _ => (zero, zero),
            }
        }
    }

    // Indices run over three arrays at once, of sizes known here: the compiler keeps them in registers.
    #[allow(clippy::needless_range_loop)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn tile<const KIND: u8, const ROWS: usize, const PANELS: usize>(
        panels: [Raw; PANELS],
        cols: usize,
        group: usize,
        x: *const f32,
        out: *mut f32,
    ) {
        // SAFETY: the caller passes panels of `cols` entries, `cols × ROWS` activations and a tile of
        // `PANELS × ROWS × 32`; `group` divides `cols`.
        unsafe {
            let mut acc = [[[_mm512_setzero_ps(); 2]; ROWS]; PANELS];
            for g in 0..cols / group {
                let mut s = [[_mm512_setzero_ps(); 2]; PANELS];
                let mut o = [[_mm512_setzero_ps(); 2]; PANELS];
                for p in 0..PANELS {
                    (s[p], o[p]) = group_at::<KIND>(panels[p], g);
                }
                for k in g * group..(g + 1) * group {
                    for p in 0..PANELS {
                        let w = load::<KIND>(panels[p].w, k, s[p], o[p]);
                        for r in 0..ROWS {
                            let x = _mm512_set1_ps(*x.add(k * ROWS + r));
                            acc[p][r][0] = _mm512_fmadd_ps(w[0], x, acc[p][r][0]);
                            acc[p][r][1] = _mm512_fmadd_ps(w[1], x, acc[p][r][1]);
                        }
                    }
                }
            }
            for p in 0..PANELS {
                for r in 0..ROWS {
                    let out = out.add((p * ROWS + r) * PANEL);
                    _mm512_storeu_ps(out, acc[p][r][0]);
                    _mm512_storeu_ps(out.add(16), acc[p][r][1]);
                }
            }
        }
    }

    macro_rules! by_rows {
        ($kind:ident, $rows:expr, $panels:expr, $args:tt, [$($r:literal)*]) => {
            match $rows { $($r => tile::<$kind, $r, $panels> $args,)* _ => unreachable!("at most 12 rows") }
        };
    }

    /// # Safety
    /// AVX-512; `x` holds `rows × cols` activations, `out` one tile a panel.
    pub(super) unsafe fn kernel(
        a: PanelRef<'_>,
        b: Option<PanelRef<'_>>,
        x: &[f32],
        rows: usize,
        out: &mut [f32],
    ) {
        let (raw, kind, group) = Raw::of(a);
        let (cols, x, out) = (a.cols, x.as_ptr(), out.as_mut_ptr());
        macro_rules! run {
            ($kind:ident) => {
                match b {
                    Some(b) => {
                        let raw = [raw, Raw::of(b).0];
                        by_rows!($kind, rows, 2, (raw, cols, group, x, out), [1 2 3 4 5 6])
                    }
                    None => by_rows!($kind, rows, 1, ([raw], cols, group, x, out), [1 2 3 4 5 6 7 8 9 10 11 12]),
                }
            };
        }
        // SAFETY: the caller's promise; both panels come from one matrix, so they are of one kind.
        unsafe {
            match kind {
                INT8 => run!(INT8),
                INT8_OFFSET => run!(INT8_OFFSET),
                F32 => run!(F32),
                F16 => run!(F16),
                _ => run!(BF16),
            }
        }
    }

    /// # Safety
    /// AVX-512; `out` holds the panel's `cols × 32` values.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) unsafe fn unpack(panel: PanelRef<'_>, out: &mut [f32]) {
        let (raw, kind, group) = Raw::of(panel);
        macro_rules! run {
            ($kind:ident) => {
                for g in 0..panel.cols / group {
                    let (s, o) = group_at::<$kind>(raw, g);
                    for k in g * group..(g + 1) * group {
                        let w = load::<$kind>(raw.w, k, s, o);
                        let out = out.as_mut_ptr().add(k * PANEL);
                        _mm512_storeu_ps(out, w[0]);
                        _mm512_storeu_ps(out.add(16), w[1]);
                    }
                }
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            match kind {
                INT8 => run!(INT8),
                INT8_OFFSET => run!(INT8_OFFSET),
                F32 => run!(F32),
                F16 => run!(F16),
                _ => run!(BF16),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cpu::packed::MatrixView;
    use candle_core::quantized::{GgmlDType, QTensor};
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
        let (n, k, rows) = (70, 512, 40);
        let values = noise(n * k, 1);
        let x = noise(rows * k, 2);
        let tensor = Tensor::from_vec(values, (n, k), &Device::Cpu).expect("tensor");
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
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
            let bytes = quantized.data().expect("data");
            let view = MatrixView { dtype, rows: n, cols: k, bytes: &bytes };
            let packed = PackedMatrix::pack(&view).expect("supported");
            let batch = product(&packed, &x, rows);
            let mut w = vec![0.0; k];
            for j in 0..n {
                view.row_f32(j, &mut w);
                for t in 0..rows {
                    let x = &x[t * k..][..k];
                    let truth: f64 = w.iter().zip(x).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    let ours = f64::from(batch[t * n + j]);
                    assert!((ours - truth).abs() < 2e-4, "{dtype:?} [{t}][{j}]: {ours} and not {truth}");
                }
            }
            for size in [1, 2, 3, 5, 7, 12, 13, 25] {
                let part = product(&packed, &x[k..][..size * k], size);
                assert_eq!(part, batch[n..][..size * n], "{dtype:?}: a batch of {size} differs");
            }
        }
    }

    #[test]
    fn portable_kernel_gives_the_same_bits() {
        let (n, k, rows) = (32, 256, 5);
        let tensor = Tensor::from_vec(noise(n * k, 3), (n, k), &Device::Cpu).expect("tensor");
        for dtype in [GgmlDType::Q4K, GgmlDType::Q5_0, GgmlDType::Q6K, GgmlDType::F16, GgmlDType::BF16] {
            let quantized = QTensor::quantize(&tensor, dtype).expect("quantize");
            let bytes = quantized.data().expect("data");
            let packed =
                PackedMatrix::pack(&MatrixView { dtype, rows: n, cols: k, bytes: &bytes }).expect("packed");
            let x = noise(rows * k, 4);
            let mut transposed = vec![0.0; rows * k];
            for r in 0..rows {
                for i in 0..k {
                    transposed[i * rows + r] = x[r * k + i];
                }
            }
            let mut tile = vec![0.0; rows * PANEL];
            portable::kernel(panel_ref(&packed, 0), &transposed, rows, &mut tile);
            assert_eq!(tile, product(&packed, &x, rows), "{dtype:?}");
        }
    }
}
