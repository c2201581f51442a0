//! The integer kernel for machines with tile registers (Intel AMX).
//!
//! One tile instruction multiplies both planes of up to eight rows with a group of inputs of 16 channels. Its sums
//! can leave the tile unit through memory only, a store a tile row, and the vector unit closes the groups with the
//! same operations as every other kernel. To keep both units busy, three groups are under way at a time: the
//! products of one are formed while those of the one before are stored and the one before that is closed.

use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::unpack::bytes_of;
use super::{BYTES, FIVE, NIBBLES, PREFETCH, PanelRef, Tile};
use crate::model::cpu::activations::{BLOCK, MAX_ROWS, RowBlock};
use crate::model::cpu::packed::{HALF, Line, ZERO};

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

/// The tile registers of this thread, given their shapes when those change and given back at the end.
#[derive(Debug, Default)]
pub(super) struct Registers {
    /// Rows and group of the shapes that are loaded.
    shape: Option<(usize, usize)>,
    /// Registers belong to a thread.
    not_send: PhantomData<*const ()>,
}

impl Registers {
    /// # Safety
    /// AMX, granted by the system.
    unsafe fn set(&mut self, rows: usize, group: usize) {
        if self.shape != Some((rows, group)) {
            self.shape = Some((rows, group));
            let shapes = Shapes::new(rows, group);
            // SAFETY: the caller's promise; `shapes` is what the instruction reads.
            unsafe { asm!("ldtilecfg [{0}]", in(reg) &shapes, options(nostack, readonly)) };
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        if self.shape.is_some() {
            // SAFETY: shapes were loaded, so the machine has tiles.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }
}

/// Groups (a power of two) whose integers are kept when nobody needs them later: those stay in the first-level cache.
const RING: usize = 4;

/// Inputs of a panel whose bytes are too many for the first-level cache.
const FAR: usize = 1024;

/// Lines of bytes that the ring takes.
const RING_LINES: usize = RING * 16;

/// Lines of bytes that a panel's unpacked integers take: all of them when more rows follow that need them.
pub(super) fn lines_needed(cols: usize, blocks: usize) -> usize {
    if blocks == 1 { RING_LINES } else { cols / 2 }
}

/// Sums of one group: `[half][plane × rows + row][channel]`.
#[repr(C, align(64))]
struct Sums([[[i32; HALF]; 2 * MAX_ROWS]; 2]);

/// Multiplies a block of rows with a panel. Nibbles are written as bytes to `unpacked`, which holds [`lines_needed`] lines.
///
/// # Safety
/// AMX (tile and int8, granted by the system) and AVX-512 F, BW, VL and DQ; panel and rows have the same number of
/// inputs.
pub(super) unsafe fn kernel(
    panel: PanelRef<'_>,
    x: &RowBlock,
    unpacked: &mut [Line],
    registers: &mut Registers,
    tile: &mut Tile,
) {
    macro_rules! run {
        ($rows:literal) => {
            match (panel.integers.bits(), panel.group, panel.offset.is_some()) {
                (BYTES, 16, false) => rows::<$rows, 16, false, BYTES>(panel, x, unpacked, tile),
                (BYTES, 16, true) => rows::<$rows, 16, true, BYTES>(panel, x, unpacked, tile),
                (BYTES, 32, false) => rows::<$rows, 32, false, BYTES>(panel, x, unpacked, tile),
                (BYTES, 32, true) => rows::<$rows, 32, true, BYTES>(panel, x, unpacked, tile),
                (NIBBLES, 32, false) => rows::<$rows, 32, false, NIBBLES>(panel, x, unpacked, tile),
                (NIBBLES, 32, true) => rows::<$rows, 32, true, NIBBLES>(panel, x, unpacked, tile),
                (FIVE, 32, false) => rows::<$rows, 32, false, FIVE>(panel, x, unpacked, tile),
                (FIVE, 32, true) => rows::<$rows, 32, true, FIVE>(panel, x, unpacked, tile),
                _ => unreachable!("no format has such groups"),
            }
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        registers.set(x.rows, panel.group);
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
    }
}

/// Forms the products of a group in registers `$first` and `$second`.
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
/// As [`kernel`]; the shapes are loaded, `x` has `R` rows, and `BITS` are those of the panel's integers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn rows<const R: usize, const GROUP: usize, const OFFSET: bool, const BITS: u8>(
    panel: PanelRef<'_>,
    x: &RowBlock,
    unpacked: &mut [Line],
    tile: &mut Tile,
) {
    let groups = panel.scale.len() / 2;
    // Bytes that have just been unpacked are near, unless there are many.
    let is_far = !unpacked.is_empty() || groups * GROUP > FAR;
    let ring = if unpacked.len() == RING_LINES { RING - 1 } else { usize::MAX };
    let (source, fifths, zero) = panel.integers.parts();
    let shift = (ZERO - zero) as u8;
    let terms = x.terms(GROUP);
    let (scale, offset) = (panel.scale.as_ptr(), panel.offset.map_or(std::ptr::null(), <[_]>::as_ptr));
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
    let mut acc = [[_mm512_setzero_ps(); 2]; R];
    // SAFETY: `x` holds 2 × rows × k bytes and the terms of each group and row, `panel` its lines and two lanes a
    // group, `unpacked` a ring of groups or all of them, `sums` two tiles of 2 × R rows of 64 bytes each. A tile's sums
    // are read after they were stored. The compiler uses no tile registers of its own, so they keep their values
    // from one statement to the next. A prefetch past the end reads nothing.
    unsafe {
        macro_rules! unpack {
            ($g:expr) => {
                let to = unpacked.as_mut_ptr().add(($g & ring) * GROUP / 2);
                for j in 0..GROUP / 4 {
                    let at = $g * GROUP / 4 + j;
                    let line = source.add(at);
                    _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(PREFETCH).cast());
                    let mut fifth = None;
                    if BITS == FIVE {
                        let bits = fifths.add(at);
                        _mm_prefetch::<_MM_HINT_T0>(bits.wrapping_add(PREFETCH).cast());
                        fifth = Some(*bits);
                    }
                    let [first, second] = bytes_of(&*line, fifth, shift);
                    _mm512_store_si512(to.add(2 * j).cast(), first);
                    _mm512_store_si512(to.add(2 * j + 1).cast(), second);
                }
            };
        }
        // One group's turn: its products are formed, those of the group before stored, the one before that closed.
        macro_rules! turn {
            ($g:expr, $formed:literal, $first:literal, $second:literal, $stored:literal, $other_first:literal, $other_second:literal) => {
                let g = $g;
                if g < groups {
                    let (block, within) = (g * GROUP / BLOCK, g * GROUP % BLOCK);
                    let activations = x.planes.as_ptr().add(2 * block * R * BLOCK + within);
                    let lines = if BITS == BYTES {
                        let lines = source.add(g * GROUP / 2);
                        if is_far {
                            for line in 0..GROUP / 2 {
                                _mm_prefetch::<_MM_HINT_T0>(lines.wrapping_add(PREFETCH + line).cast());
                            }
                        }
                        lines
                    } else {
                        unpacked.as_ptr().add((g & ring) * GROUP / 2)
                    };
                    multiply!($first, $second, activations, lines);
                }
                if BITS != BYTES && g + 2 < groups {
                    unpack!((g + 2));
                }
                if (1..=groups).contains(&g) {
                    store!($other_first, $other_second, sums[$stored].as_mut_ptr());
                }
                if (2..groups + 2).contains(&g) {
                    let g = g - 2;
                    let sums = sums[$formed].as_ptr().cast::<i32>();
                    let scale = scale.add(2 * g);
                    let scale = [_mm512_load_ps(scale.cast()), _mm512_load_ps(scale.add(1).cast())];
                    let offset = if OFFSET {
                        let offset = offset.add(2 * g);
                        [_mm512_load_ps(offset.cast()), _mm512_load_ps(offset.add(1).cast())]
                    } else {
                        [_mm512_setzero_ps(); 2]
                    };
                    for r in 0..R {
                        let step = _mm512_set1_ps(*x.scale.as_ptr().add(g * GROUP / BLOCK * R + r));
                        let bias = _mm512_set1_epi32(*terms.bias.as_ptr().add(g * R + r));
                        for half in 0..2 {
                            let plane = |row: usize| {
                                _mm512_load_si512(sums.add((half * 2 * MAX_ROWS + row) * HALF).cast())
                            };
                            let integer = _mm512_add_epi32(_mm512_slli_epi32::<8>(plane(r)), plane(R + r));
                            let value = _mm512_cvtepi32_ps(_mm512_add_epi32(integer, bias));
                            let acc = &mut acc[r][half];
                            *acc = _mm512_fmadd_ps(value, _mm512_mul_ps(scale[half], step), *acc);
                            if OFFSET {
                                let sum = _mm512_set1_ps(*terms.sum.as_ptr().add(g * R + r));
                                *acc = _mm512_fmadd_ps(offset[half], sum, *acc);
                            }
                        }
                    }
                }
            };
        }
        if BITS != BYTES {
            unpack!(0);
            if groups > 1 {
                unpack!(1);
            }
        }
        for g in (0..groups + 2).step_by(2) {
            turn!(g, 0, "tmm0", "tmm1", 1, "tmm2", "tmm3");
            turn!(g + 1, 1, "tmm2", "tmm3", 0, "tmm0", "tmm1");
        }
        for (row, acc) in tile.0.iter_mut().zip(acc) {
            _mm512_store_ps(row.as_mut_ptr(), acc[0]);
            _mm512_store_ps(row.as_mut_ptr().add(HALF), acc[1]);
        }
    }
}
