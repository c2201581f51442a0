//! The rows as text: aligned for a terminal, and comma-separated.

use super::compare::Comparison;
use super::document::{Document, Row, Summary};
use crate::report::table::aligned;

const MIB: f64 = (1 << 20) as f64;

impl Document {
    /// For a terminal: the machine, the rows, the parts of steps.
    pub fn text(&self) -> String {
        let machine = &self.machine;
        let gpu = machine.gpu.as_ref().map_or_else(String::new, |gpu| {
            format!(
                "{}: {:.0} GiB, limits: {:.0} GB/s read, {:.0} TFLOP/s bf16\n",
                gpu.name,
                gpu.memory_bytes as f64 / MIB / 1024.0,
                gpu.read_gb_per_second,
                gpu.bf16_gflop_per_second / 1e3,
            )
        });
        let mut text = format!(
            "vigor {}, {}, {}\n{gpu}{}, {} of {} processors, {}, {:.1} GiB of memory\n\
             limits: {:.1} GB/s read, {:.0} GFLOP/s f32; weights {:.0} MiB; peak memory {:.0} MiB\n\n",
            self.vigor,
            self.model.file,
            self.date,
            machine.cpu,
            machine.threads,
            machine.cores,
            machine.isa,
            machine.memory_bytes as f64 / MIB / 1024.0,
            machine.read_gb_per_second,
            machine.fma_gflop_per_second,
            self.weight_bytes as f64 / MIB,
            self.peak_memory_bytes as f64 / MIB,
        );
        let rows: Vec<Vec<String>> = self.rows.iter().map(Row::texts).collect();
        text.push_str(&aligned(&HEADERS, &rows));
        let parts: Vec<Vec<String>> = self.rows.iter().filter_map(part_texts).collect();
        if !parts.is_empty() {
            text.push_str("\nMilliseconds a step, by part (means):\n");
            text.push_str(&aligned(&PART_HEADERS, &parts));
        }
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// Comma-separated, with a line of headers.
    pub fn csv(&self) -> String {
        let columns = ["mean", "sd", "median", "min", "max"];
        let summary = |name: &str| columns.map(|column| format!("{name}_{column}")).join(",");
        let mut text = format!(
            "name,unit,sequences,prefix,tokens,{},{},gb_per_second,of_read_bandwidth,gflop_per_second,of_fma_rate,pages,peak_memory_bytes\n",
            summary("tokens_per_second"),
            summary("milliseconds")
        );
        for row in &self.rows {
            let numbers =
                |s: &Summary| [s.mean, s.sd, s.median, s.min, s.max].map(|v| v.to_string()).join(",");
            let optional = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            text.push_str(&format!(
                "{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
                row.name,
                row.unit,
                row.sequences,
                row.prefix,
                row.tokens,
                numbers(&row.tokens_per_second),
                numbers(&row.milliseconds),
                optional(row.gb_per_second),
                optional(row.of_read_bandwidth),
                optional(row.gflop_per_second),
                optional(row.of_fma_rate),
                row.pages,
                row.peak_memory_bytes,
            ));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

const HEADERS: [&str; 12] =
    ["row", "tokens/s", "± sd", "median", "min", "max", "ms", "a", "GB/s", "GFLOP/s", "pages", "peak MiB"];

const PART_HEADERS: [&str; 8] = ["row", "steps", "propose", "gate", "execute", "guide", "commit", "rest"];

impl Row {
    fn texts(&self) -> Vec<String> {
        let speed = &self.tokens_per_second;
        let with_share = |value: Option<f64>, share: Option<f64>| match (value, share) {
            (Some(value), Some(share)) => format!("{value:.1} ({:.0} %)", 100.0 * share),
            _ => "–".to_owned(),
        };
        vec![
            self.name.clone(),
            format!("{:.1}", speed.mean),
            format!("{:.1}", speed.sd),
            format!("{:.1}", speed.median),
            format!("{:.1}", speed.min),
            format!("{:.1}", speed.max),
            format!("{:.2}", self.milliseconds.median),
            self.unit.clone(),
            with_share(self.gb_per_second, self.of_read_bandwidth),
            with_share(self.gflop_per_second, self.of_fma_rate),
            self.pages.to_string(),
            format!("{:.0}", self.peak_memory_bytes as f64 / MIB),
        ]
    }
}

fn part_texts(row: &Row) -> Option<Vec<String>> {
    let parts = row.parts?;
    let steps = row.counts.map_or_else(|| "1".to_owned(), |counts| counts.steps.to_string());
    let mut texts = vec![row.name.clone(), steps];
    texts.extend(parts.named().map(|(_, value)| format!("{value:.2}")));
    Some(texts)
}

impl Comparison {
    /// For a terminal.
    pub fn text(&self) -> String {
        let row = |(name, then, now, ratio): &(String, f64, f64, f64)| {
            vec![name.clone(), format!("{then:.1}"), format!("{now:.1}"), format!("{ratio:.2}")]
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        let mut text = aligned(&["row", "then", "now", "now/then"], &rows);
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text.truncate(text.trim_end().len());
        text
    }
}
