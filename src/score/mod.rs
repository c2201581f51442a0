//! Scoring: samples that anybody made for the tasks of a dataset → verdicts.
//!
//! [`samples`](Sample) reads the files that benchmarks' own tools read, [`score`] runs every sample in the
//! sandbox, [`Summary`] counts. Nothing here prints.

mod names;
mod samples;
mod summary;
mod verdicts;

pub use samples::{Sample, SampleError, read_samples, reference_samples};
pub use summary::Summary;
pub use verdicts::{SampleVerdict, ScoreError, ScoreOptions, TestSet, limits, score};
