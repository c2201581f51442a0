//! Weights on disk: one trait over GGUF files and safetensors folders.

use super::ModelError;
use super::cpu::packed::MatrixView;

/// The tensors a decoder asks for, by role; each format knows its own names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Token embeddings, `vocab × hidden`.
    Embedding,
    /// Final norm.
    OutputNorm,
    /// Output projection, `vocab × hidden`.
    Output,
    /// Norm before attention.
    AttentionNorm,
    /// Query projection.
    Q,
    /// Key projection.
    K,
    /// Value projection.
    V,
    /// Attention output projection.
    O,
    /// Norm before the feed-forward block.
    FeedForwardNorm,
    /// Gate projection.
    Gate,
    /// Up projection.
    Up,
    /// Down projection.
    Down,
}

/// Weight or bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The matrix, or a norm's vector.
    Weight,
    /// The bias.
    Bias,
}

/// A model's tensors.
pub trait WeightSource {
    /// The name of a tensor in this format, e.g. `blk.3.attn_q.weight`.
    fn name(&self, role: Role, layer: usize, part: Part) -> String;
    /// Whether a tensor of that name exists.
    fn has(&self, name: &str) -> bool;
    /// A tensor as the bytes of a matrix; a vector is a matrix of one row.
    fn matrix(&self, name: &str) -> Result<MatrixView<'_>, ModelError>;
}

/// A matrix of the given shape.
pub fn matrix_of<'a>(
    source: &'a dyn WeightSource,
    name: &str,
    rows: usize,
    cols: usize,
) -> Result<MatrixView<'a>, ModelError> {
    let view = source.matrix(name)?;
    if (view.rows, view.cols) != (rows, cols) {
        return Err(ModelError::Shape {
            tensor: name.into(),
            found: vec![view.rows, view.cols],
            expected: vec![rows, cols],
        });
    }
    Ok(view)
}

/// A vector of the given length, in f32.
pub fn vector_of(source: &dyn WeightSource, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
    let view = matrix_of(source, name, 1, len)?;
    let mut out = vec![0.0; len];
    view.row_f32(0, &mut out);
    Ok(out)
}
