//! The attention half of a block: queries, keys and values of a batch's rows, and what they attend to.

use super::block::{Block, Heads, Linear, Queries};
use super::{Decoder, RopeTable, Row, Work, rows_a_task};
use crate::model::Span;
use crate::model::config::{Latent, ModelConfig};
use crate::model::cpu::attention::{self, KvLayer, PAGE, Query};
use crate::model::cpu::matmul::{Product, matmul};
use crate::model::cpu::ops;
use crate::team;

impl Decoder {
    /// What attention of one block adds to the residual stream, for all rows, into `work.delta`; `work.normed` holds the
    /// rows behind the norm.
    pub(super) fn attention(&mut self, layer: usize, spans: &[Span<'_>]) {
        let (block, config, work) = (&self.blocks[layer], &self.config, &mut self.work);
        let shape = config.attention.shape;
        let rows = work.rows.len();
        let [q_dim, k_dim, v_dim, out_dim] = config.widths();
        work.q.resize(rows * q_dim, 0.0);
        work.k.resize(rows * k_dim, 0.0);
        work.v.resize(rows * v_dim, 0.0);
        match &block.heads {
            Heads::Plain { q, k, v } => {
                let mut products = [
                    Product { weights: &q.weight, out: &mut work.q },
                    Product { weights: &k.weight, out: &mut work.k },
                    Product { weights: &v.weight, out: &mut work.v },
                ];
                matmul(&work.normed, rows, &mut products, &mut work.scratch);
                for (x, linear) in [(&mut work.q, q), (&mut work.k, k), (&mut work.v, v)] {
                    linear.add_bias(x);
                }
            }
            Heads::Latent { q, kv_down, kv_norm, kv_up } => {
                let latent = config.attention.latent.expect("blocks of latent heads have it");
                queries(q, config, work);
                keys_and_values(kv_down, kv_norm, kv_up, latent, config, work);
            }
        }

        turn(block, config, self.ropes.of(config, layer), layer, work);
        let (page_size, value_page_size) = (shape.page_size(), shape.value_page_size());
        let (k_layer, v_layer) = (&mut self.cache.k[layer], &mut self.cache.v[layer]);
        for (i, row) in work.rows.iter().enumerate() {
            let page = spans[row.span].pages[row.position / PAGE] as usize;
            attention::store(
                shape,
                row.position % PAGE,
                &work.k[i * k_dim..][..k_dim],
                &work.v[i * v_dim..][..v_dim],
                &mut k_layer[page * page_size..][..page_size],
                &mut v_layer[page * value_page_size..][..value_page_size],
            );
        }

        let window = config.window_of(layer).unwrap_or(usize::MAX);
        let query = |row: &Row| {
            let len = row.position + 1;
            Query { pages: spans[row.span].pages, from: len.saturating_sub(window), len }
        };
        let queries: Vec<Query<'_>> = work.rows.iter().map(query).collect();
        work.context.resize(rows * out_dim, 0.0);
        let layer = KvLayer { shape, k: k_layer, v: v_layer, cap: config.attention.cap };
        attention::attend(layer, &queries, &work.q, &mut work.context);

        work.delta.resize(rows * config.hidden, 0.0);
        let mut products = [Product { weights: &block.o.weight, out: &mut work.delta }];
        matmul(&work.context, rows, &mut products, &mut work.scratch);
        block.o.add_bias(&mut work.delta);
    }
}

/// Norms, turns and scales every row's queries and keys.
fn turn(block: &Block, config: &ModelConfig, table: Option<&RopeTable>, layer: usize, work: &mut Work) {
    let attention = &config.attention;
    let dim = attention.shape.head_dim;
    let [q_dim, k_dim, ..] = config.widths();
    let rope = config.rope_of(layer).zip(table);
    let prepare = |x: &mut [f32], norm: Option<&Vec<f32>>, row: &Row| {
        if let Some(norm) = norm {
            ops::rms_norm_in_place(x, norm, config.norm.eps);
        }
        if let Some((rope, table)) = rope {
            let (cos, sin) = table.at(row.position);
            ops::rope(x, dim, rope.first, cos, sin, rope.pairs);
        }
    };
    let [q_norm, k_norm] = block.head_norms.as_ref().map_or([None; 2], |[q, k]| [Some(q), Some(k)]);
    let size = rows_a_task(work.rows.len());
    let both = work.q.chunks_mut(size * q_dim).zip(work.k.chunks_mut(size * k_dim));
    team::each(both.zip(work.rows.chunks(size)), |((q, k), rows)| {
        for ((q, k), row) in q.chunks_exact_mut(q_dim).zip(k.chunks_exact_mut(k_dim)).zip(rows) {
            prepare(q, q_norm, row);
            q.iter_mut().for_each(|q| *q *= attention.scale);
            prepare(k, k_norm, row);
        }
    });
}

/// Multiplies the rows of `x` with a linear layer.
fn product(linear: &Linear, x: &[f32], rows: usize, out: &mut Vec<f32>, work: &mut super::Scratch) {
    out.resize(rows * linear.weight.rows, 0.0);
    matmul(x, rows, &mut [Product { weights: &linear.weight, out }], work);
    linear.add_bias(out);
}

/// The queries of latent attention.
fn queries(q: &Queries, config: &ModelConfig, work: &mut Work) {
    let rows = work.rows.len();
    match q {
        Queries::Direct(q) => product(q, &work.normed, rows, &mut work.q, &mut work.scratch),
        Queries::Latent { down, norm, up } => {
            product(down, &work.normed, rows, &mut work.latent, &mut work.scratch);
            ops::rms_norm_in_place(&mut work.latent, norm, config.norm.eps);
            product(up, &work.latent, rows, &mut work.q, &mut work.scratch);
        }
    }
}

/// Keys and values of latent attention: a row's vector, normed, gives every head's still part of the key and its value; the
/// part that turns is the same for all heads.
fn keys_and_values(
    down: &Linear,
    norm: &[f32],
    up: &Linear,
    latent: Latent,
    config: &ModelConfig,
    work: &mut Work,
) {
    let (shape, rows) = (config.attention.shape, work.rows.len());
    let [_, k_dim, v_dim, _] = config.widths();
    let width = latent.rank + latent.turned;
    product(down, &work.normed, rows, &mut work.delta, &mut work.scratch);
    work.latent.clear();
    for row in work.delta.chunks_exact(width) {
        work.latent.extend_from_slice(&row[..latent.rank]);
    }
    ops::rms_norm_in_place(&mut work.latent, norm, config.norm.eps);
    product(up, &work.latent, rows, &mut work.context, &mut work.scratch);
    let still = shape.head_dim - latent.turned;
    let each = still + shape.value_dim;
    let sources = work.context.chunks_exact(shape.heads * each).zip(work.delta.chunks_exact(width));
    let targets = work.k.chunks_exact_mut(k_dim).zip(work.v.chunks_exact_mut(v_dim));
    for ((up, down), (k, v)) in sources.zip(targets) {
        for head in 0..shape.heads {
            let up = &up[head * each..][..each];
            let k = &mut k[head * shape.head_dim..][..shape.head_dim];
            k[..still].copy_from_slice(&up[..still]);
            k[still..].copy_from_slice(&down[latent.rank..]);
            v[head * shape.value_dim..][..shape.value_dim].copy_from_slice(&up[still..]);
        }
    }
}
