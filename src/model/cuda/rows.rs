//! Rows of logits in device memory: a row for everything that waits for what follows it.

use std::sync::Arc;

use super::driver::{Buffer, Gpu};
use crate::model::ModelError;

/// Rows that are allocated together.
const SLAB: usize = 64;
/// Slabs at most.
const SLABS: usize = 256;

/// The rows, and which of them are free.
pub(super) struct Rows {
    gpu: Arc<Gpu>,
    stride: usize,
    slabs: Vec<Buffer<f32>>,
    addresses: Buffer<u64>,
    free: Vec<u32>,
}

impl Rows {
    pub fn new(gpu: &Arc<Gpu>, vocab: usize) -> Result<Self, ModelError> {
        let mut rows = Self {
            gpu: gpu.clone(),
            stride: vocab.next_multiple_of(4) + 4,
            slabs: Vec::new(),
            addresses: gpu.zeros(SLABS)?,
            free: Vec::new(),
        };
        rows.grow()?;
        Ok(rows)
    }

    fn grow(&mut self) -> Result<(), ModelError> {
        let number = self.slabs.len();
        let slab = self.gpu.alloc::<f32>(SLAB * self.stride)?;
        self.addresses.write(number, &[slab.address()])?;
        self.slabs.push(slab);
        self.free.extend((number * SLAB..(number + 1) * SLAB).rev().map(|row| row as u32));
        Ok(())
    }

    pub fn take(&mut self) -> Result<u32, ModelError> {
        if self.free.is_empty() {
            self.grow()?;
        }
        Ok(self.free.pop().expect("a new slab has free rows"))
    }

    pub fn give_back(&mut self, row: u32) {
        self.free.push(row);
    }

    pub fn slabs(&self) -> u64 {
        self.addresses.address()
    }

    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes that should stay free for more rows.
    pub fn reserve(&self) -> usize {
        8 * SLAB * self.stride * 4
    }

    pub fn normalise(&self, _rows: u64, _pass: u64, _count: usize) -> Result<(), ModelError> {
        Ok(())
    }

    /// The logits of a row.
    pub fn read(&self, row: u32, out: &mut [f32]) -> Result<(), ModelError> {
        self.slabs[row as usize / SLAB].read(row as usize % SLAB * self.stride, out)
    }
}
