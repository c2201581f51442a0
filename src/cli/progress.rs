//! Progress on the terminal: downloads, runs, and scoring.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use vigor::engine::Client;
use vigor::run::files::{ResultRow, TimingRow};
use vigor::run::{Progress, SessionJob, StepProgress};

use super::say::tell;

/// Bars for files that are fetched or verified.
pub struct Downloads {
    bars: MultiProgress,
    by_name: Mutex<HashMap<String, ProgressBar>>,
}

impl Downloads {
    pub fn new() -> Self {
        Self { bars: MultiProgress::new(), by_name: Mutex::default() }
    }

    pub fn show(&self, progress: vigor::source::Progress<'_>) {
        let verb = match progress.phase {
            vigor::source::Phase::Waiting => "waiting for another process:",
            vigor::source::Phase::Downloading => "fetching",
            vigor::source::Phase::Verifying => "verifying",
        };
        let key = format!("{verb} {}", progress.what);
        let mut bars = self.by_name.lock().unwrap_or_else(|e| e.into_inner());
        let bar = bars.entry(key.clone()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(progress.total));
            let style =
                ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_message(key);
            bar
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if progress.done >= progress.total && progress.total > 0 {
            bar.finish_and_clear();
        }
    }

    pub fn finish(&self) {
        let _ = self.bars.clear();
    }
}

/// Watches a run: a bar over its sessions, what is being written, and tokens a second. Where the output is no
/// terminal: a line for each finished session.
pub struct RunBar {
    bar: ProgressBar,
    clients: Vec<Client>,
    started: Instant,
    terminal: bool,
    /// Sessions that other processes have finished since this one began, and those that they hold.
    others: Mutex<(usize, usize)>,
}

impl RunBar {
    pub fn new(clients: Vec<Client>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new(0);
        if !terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style =
            ProgressStyle::with_template("{bar:24} {pos}/{len} sessions  {elapsed}<{eta}  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, clients, started: Instant::now(), terminal, others: Mutex::default() }
    }

    /// New tokens a second since the run began, over all sessions.
    fn rate(&self) -> f64 {
        let of = |client: &Client| client.stats().generated_tokens.load(std::sync::atomic::Ordering::Relaxed);
        let tokens: u64 = self.clients.iter().map(of).sum();
        tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-3)
    }

    /// What other processes do, before what this one does; nothing while it is alone.
    fn message(&self, own: &str) {
        let (finished, held) = *self.others.lock().unwrap_or_else(|e| e.into_inner());
        let others = if (finished, held) == (0, 0) {
            String::new()
        } else {
            format!("others: {finished} finished, {held} running  ")
        };
        self.bar.set_message(format!("{others}{own}"));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for RunBar {
    fn run_started(&self, total: usize, finished: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(finished as u64);
        self.bar.reset_eta();
        if finished > 0 {
            tell!("{finished} of {total} sessions are finished already; going on");
        }
    }

    fn session_started(&self, job: &SessionJob) {
        self.message(&format!("{} · {}", job.task.id, job.cell.name));
    }

    fn step(&self, step: &StepProgress) {
        let line = step.step.decision.text.trim_end();
        let shown: String = line.trim_start_matches('\n').chars().take(48).collect();
        self.message(&format!(
            "{} · {} · step {} · {:.0} tokens/s  {shown}",
            step.task,
            step.cell,
            step.step.step,
            self.rate()
        ));
    }

    fn session_finished(&self, _index: usize, result: &ResultRow, timing: &TimingRow) {
        self.bar.inc(1);
        if !self.terminal {
            let verdict = match result.held_out_verdict() {
                _ if result.is_skipped() => "skipped",
                Some(true) => "passed",
                Some(false) => "failed",
                None => "no held-out tests",
            };
            tell!(
                "{:<16} {:<16} {verdict}  {:>3} steps {:>5} tokens {:>6.1} s  ({:.0} tokens/s)",
                result.session.task_id,
                result.session.cell,
                result.steps,
                result.generated_tokens,
                timing.seconds,
                self.rate()
            );
        }
    }

    fn others(&self, finished: usize, held: usize) {
        let mut others = self.others.lock().unwrap_or_else(|e| e.into_inner());
        *others = (others.0 + finished, held);
        if finished > 0 {
            // They move the same bar, so that its estimate is that of all processes together.
            self.bar.inc(finished as u64);
            if !self.terminal {
                tell!("{finished} more sessions finished by other processes ({} in all)", others.0);
            }
        }
    }
}

/// A bar over samples that are scored; nothing where the output is no terminal.
pub struct SampleBar {
    bar: ProgressBar,
}

impl SampleBar {
    pub fn new(samples: usize) -> Self {
        let bar = ProgressBar::new(samples as u64);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} samples  {elapsed}<{eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub fn sample_finished(&self) {
        self.bar.inc(1);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
