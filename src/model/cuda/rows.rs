//! Rows of logits in device memory, for whatever waits for what follows it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use super::driver::{Buffer, Gpu};
use crate::model::ModelError;
use crate::model::sampling::Logprobs;

/// Rows that are allocated together.
const SLAB: usize = 64;
/// Slabs at most.
const SLABS: usize = 256;
/// Entries of a row that a block looks at.
const CHUNK: usize = 4096;
/// Chunks of the longest row.
const MOST_CHUNKS: usize = 72;

/// Rows: the logits of a vocabulary each, and what `normalise.cu` found out about them.
pub(super) struct Rows {
    gpu: Arc<Gpu>,
    vocab: usize,
    stride: usize,
    slabs: Vec<Buffer<f32>>,
    addresses: Buffer<u64>,
    free: Vec<u32>,
    /// Where handles send the numbers of their rows when they are dropped.
    returning: Sender<u32>,
    returned: Receiver<u32>,
}

impl Rows {
    /// Room for the first rows.
    pub fn new(gpu: &Arc<Gpu>, vocab: usize) -> Result<Self, ModelError> {
        if vocab > MOST_CHUNKS * CHUNK {
            let most = MOST_CHUNKS * CHUNK;
            return Err(ModelError::Device(format!(
                "a vocabulary of {vocab} tokens; the kernels take {most}"
            )));
        }
        let (returning, returned) = mpsc::channel();
        let mut rows = Self {
            gpu: gpu.clone(),
            vocab,
            stride: vocab.next_multiple_of(4) + 4,
            slabs: Vec::new(),
            addresses: gpu.zeros(SLABS)?,
            free: Vec::new(),
            returning,
            returned,
        };
        rows.grow()?;
        Ok(rows)
    }

    fn grow(&mut self) -> Result<(), ModelError> {
        let number = self.slabs.len();
        if number == SLABS {
            return Err(ModelError::DeviceMemory(format!(
                "asking for more than {} rows of logits",
                SLABS * SLAB
            )));
        }
        let slab = self.gpu.alloc::<f32>(SLAB * self.stride)?;
        self.addresses.write(number, &[slab.address()])?;
        self.slabs.push(slab);
        self.free.extend((number * SLAB..(number + 1) * SLAB).rev().map(|row| row as u32));
        Ok(())
    }

    /// The number of a row that nobody uses.
    ///
    /// # Errors
    /// All are in use, and the device has no room for more.
    pub fn take(&mut self) -> Result<u32, ModelError> {
        self.free.extend(self.returned.try_iter());
        if self.free.is_empty() {
            self.grow()?;
        }
        Ok(self.free.pop().expect("a new slab has free rows"))
    }

    /// A handle to a row that was taken; the row comes back when the last clone is gone.
    pub fn handle(&self, row: u32) -> Logprobs {
        Logprobs::on_device(row, self.returning.clone())
    }

    /// The address of the addresses of the slabs. Row `i` is number `i % 64` of slab `i / 64`.
    pub fn slabs(&self) -> u64 {
        self.addresses.address()
    }

    /// Logits of a row.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Floats of a row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes that should stay free for more rows.
    pub fn reserve(&self) -> usize {
        8 * SLAB * self.stride * size_of::<f32>()
    }

    /// The slab of a row, and where the row begins in it.
    pub fn place(&self, row: u32) -> (&Buffer<f32>, usize) {
        (&self.slabs[row as usize / SLAB], row as usize % SLAB * self.stride)
    }

    /// The log-probabilities of a row that was normalised.
    pub fn read(&self, row: u32) -> Result<Vec<f32>, ModelError> {
        let (slab, at) = self.place(row);
        let mut whole = vec![0.0; self.stride];
        slab.read(at, &mut whole)?;
        let shift = whole[self.stride - 4];
        whole.truncate(self.vocab);
        whole.iter_mut().for_each(|x| *x -= shift);
        Ok(whole)
    }

    /// Chunks of a row, a block each.
    pub fn chunks(&self) -> usize {
        self.vocab.div_ceil(CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn rows_come_back_and_more_are_made() {
        let gpu = testing::gpu();
        let mut rows = Rows::new(&gpu, 100).expect("room");
        let taken: Vec<u32> = (0..SLAB + 1).map(|_| rows.take().expect("room")).collect();
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..SLAB as u32 + 1).collect::<Vec<_>>());
        let handle = rows.handle(taken[5]);
        let clone = handle.clone();
        drop(handle);
        (0..SLAB - 1).for_each(|_| assert_ne!(rows.take().expect("room"), taken[5]));
        drop(clone);
        assert_eq!(rows.take().expect("room"), taken[5]);
    }
}
