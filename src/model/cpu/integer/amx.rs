//! The integer kernel for machines with tile registers (Intel AMX).
//!
//! One tile instruction multiplies both planes of up to eight rows with a group of inputs of 16 channels. Its sums
//! can leave the tile unit through memory only, a store a tile row, and the vector unit closes the groups with the
//! same operations as every other kernel. To keep both units busy, three groups are under way at a time: the
//! products of one are formed while those of the one before are stored and the one before that is closed.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{PanelRef, Tile};
use crate::model::cpu::activations::{BLOCK, MAX_ROWS, RowBlock};
use crate::model::cpu::packed::HALF;

/// Whether the system lets this process use the tile registers; Linux saves that much state only for processes that ask.
#[cfg(target_os = "linux")]
pub(in crate::model::cpu) fn ask_system() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call with two integers; a kernel that does not know it refuses.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
pub(in crate::model::cpu) fn ask_system() -> bool {
    false
}

/// Shapes of the tile registers, as the instruction `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_a_row: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Registers 0 to 3 are sums (two groups × both halves of the panel), 4 both planes of the rows' activations,
    /// 6 and 7 the halves of the panel.
    fn new(rows: usize, group: usize) -> Self {
        let (mut bytes_a_row, mut tile_rows) = ([0; 16], [0; 16]);
        for (register, columns, rows) in [
            (0, 64, 2 * rows),
            (1, 64, 2 * rows),
            (2, 64, 2 * rows),
            (3, 64, 2 * rows),
            (4, group, 2 * rows),
            (6, 64, group / 4),
            (7, 64, group / 4),
        ] {
            (bytes_a_row[register], tile_rows[register]) = (columns as u16, rows as u8);
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], bytes_a_row, rows: tile_rows }
    }
}

/// Sums of one group: `[half][plane × rows + row][channel]`.
#[repr(C, align(64))]
struct Sums([[[i32; HALF]; 2 * MAX_ROWS]; 2]);

/// # Safety
/// AMX (tile and int8, granted by the system) and AVX-512 F, BW, VL and DQ; panel and rows have the same number of
/// inputs; the panel's integers are bytes.
pub(super) unsafe fn kernel(panel: PanelRef<'_>, x: &RowBlock, tile: &mut Tile) {
    let shapes = Shapes::new(x.rows, panel.group);
    macro_rules! run {
        ($rows:literal) => {
            match (panel.group, panel.offset.is_some()) {
                (16, false) => rows::<$rows, 16, false>(panel, x, tile),
                (32, false) => rows::<$rows, 32, false>(panel, x, tile),
                (32, true) => rows::<$rows, 32, true>(panel, x, tile),
                _ => unreachable!("no format has such groups"),
            }
        };
    }
    // SAFETY: the caller's promise; `shapes` is what `ldtilecfg` reads; the tile registers are given back.
    unsafe {
        asm!("ldtilecfg [{0}]", in(reg) &shapes, options(nostack, readonly));
        match x.rows {
            1 => run!(1),
            2 => run!(2),
            3 => run!(3),
            4 => run!(4),
            5 => run!(5),
            6 => run!(6),
            7 => run!(7),
            MAX_ROWS => run!(8),
            _ => unreachable!("blocks have 1 to {MAX_ROWS} rows"),
        }
        asm!("tilerelease", options(nostack, nomem));
    }
}

/// Forms the products of group `$group` in registers `$first` and `$second`.
macro_rules! multiply {
    ($first:literal, $second:literal, $activations:expr, $lines:expr) => {
        asm!(
            concat!("tilezero ", $first),
            concat!("tilezero ", $second),
            "tileloadd tmm4, [{activations} + {block}*1]",
            "tileloadd tmm6, [{lines} + {two_lines}*1]",
            concat!("tdpbsud ", $first, ", tmm4, tmm6"),
            "tileloadd tmm7, [{lines} + {two_lines}*1 + 64]",
            concat!("tdpbsud ", $second, ", tmm4, tmm7"),
            activations = in(reg) $activations,
            lines = in(reg) $lines,
            block = in(reg) BLOCK,
            two_lines = in(reg) 128usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        )
    };
}

/// Stores the sums in registers `$first` and `$second`.
macro_rules! store {
    ($first:literal, $second:literal, $sums:expr) => {
        asm!(
            concat!("tilestored [{sums} + {line}*1], ", $first),
            concat!("tilestored [{sums} + {line}*1 + 1024], ", $second),
            sums = in(reg) $sums,
            line = in(reg) 64usize,
            options(nostack),
        )
    };
}

/// # Safety
/// As [`kernel`]; the shapes are loaded, and `x` has `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn rows<const R: usize, const GROUP: usize, const OFFSET: bool>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    tile: &mut Tile,
) {
    let groups = panel.scale.len() / 2;
    let lines = panel.bytes().as_ptr();
    let (next, next_lines) = panel.next;
    let share = next_lines.div_ceil(groups);
    let mut sums = [const { Sums([[[0; HALF]; 2 * MAX_ROWS]; 2]) }; 2];
    let mut acc = [[_mm512_setzero_ps(); 2]; R];
    // SAFETY: `x` holds 2 × rows × k bytes, `panel` k / 4 × 2 lines, `sums` two tiles of 2 × R rows of 64 bytes each;
    // the compiler uses no tile registers of its own, so they keep their values from one statement to the next.
    unsafe {
        macro_rules! turn {
            ($g:expr, $first:literal, $second:literal, $other_first:literal, $other_second:literal, $sums:expr, $other_sums:expr) => {
                let g = $g;
                if g < groups {
                    let (block, within) = (g * GROUP / BLOCK, g * GROUP % BLOCK);
                    let activations = x.planes.as_ptr().add(2 * block * R * BLOCK + within);
                    multiply!($first, $second, activations, lines.add(g * GROUP / 2));
                    for line in 0..share {
                        _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(g * share + line).cast());
                    }
                }
                if (1..=groups).contains(&g) {
                    store!($other_first, $other_second, &mut sums[$other_sums]);
                }
                if (2..groups + 2).contains(&g) {
                    close::<R, GROUP, OFFSET>(panel, x, g - 2, &sums[$sums], &mut acc);
                }
            };
        }
        for g in (0..groups + 2).step_by(2) {
            turn!(g, "tmm0", "tmm1", "tmm2", "tmm3", 0, 1);
            turn!(g + 1, "tmm2", "tmm3", "tmm0", "tmm1", 1, 0);
        }
        for (row, acc) in tile.0[..R].iter_mut().zip(acc) {
            _mm512_store_ps(row.as_mut_ptr(), acc[0]);
            _mm512_store_ps(row.as_mut_ptr().add(HALF), acc[1]);
        }
    }
}

/// Adds the scaled sums of group `g` to the results.
///
/// # Safety
/// AVX-512; `g` is less than the number of groups, and `x` has `R` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn close<const R: usize, const GROUP: usize, const OFFSET: bool>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    g: usize,
    sums: &Sums,
    acc: &mut [[__m512; 2]; R],
) {
    let terms = x.terms(GROUP);
    // SAFETY: `sums` has 2 × R rows, `x` the terms of each group and row, `panel` two lanes a group.
    unsafe {
        let lanes = |lanes: &[crate::model::cpu::packed::Lanes]| {
            let at = lanes.as_ptr().add(2 * g);
            [_mm512_load_ps(at.cast()), _mm512_load_ps(at.add(1).cast())]
        };
        let scale = lanes(panel.scale);
        let offset = panel.offset.map_or([_mm512_setzero_ps(); 2], lanes);
        let step = x.scale.as_ptr().add(g * GROUP / BLOCK * R);
        let bias = terms.bias.as_ptr().add(g * R);
        let sum = terms.sum.as_ptr().add(g * R);
        for r in 0..R {
            let (step, bias) = (_mm512_set1_ps(*step.add(r)), _mm512_set1_epi32(*bias.add(r)));
            for half in 0..2 {
                let plane = |row: usize| _mm512_load_si512(sums.0[half].as_ptr().add(row).cast());
                let integer = _mm512_add_epi32(_mm512_slli_epi32::<8>(plane(r)), plane(R + r));
                let value = _mm512_cvtepi32_ps(_mm512_add_epi32(integer, bias));
                acc[r][half] = _mm512_fmadd_ps(value, _mm512_mul_ps(scale[half], step), acc[r][half]);
                if OFFSET {
                    acc[r][half] = _mm512_fmadd_ps(offset[half], _mm512_set1_ps(*sum.add(r)), acc[r][half]);
                }
            }
        }
    }
}
