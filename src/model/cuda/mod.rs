//! The GPU path: weights, keys and values in device memory, and kernels of our own (`kernels/`) over them.

mod batch;
mod decoder;
pub mod driver;
pub mod limits;
mod loader;
mod rows;
mod stage;
#[cfg(test)]
mod testing;
mod weights;

pub use decoder::{CudaDecoder, Options};
