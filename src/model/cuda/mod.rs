//! The GPU path: weights, keys and values in device memory, and kernels of our own (`kernels/`) over them.

pub mod driver;
