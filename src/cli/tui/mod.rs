//! `--tui`: a dashboard of a run on the terminal, with the programs as they grow, the candidates and their verdicts.
//!
//! [`model`] takes what happens and which keys are pressed; [`view`] draws it; [`screen`] has the terminal. Here they meet: the
//! run's threads tell the model, and a thread of its own reads keys and draws, so that a slow terminal never holds up the run.

mod model;
mod screen;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use vigor::engine::Client;
use vigor::run::files::{ResultRow, TimingRow};
use vigor::run::{Progress, RunConfig, SessionJob, StepProgress, Workbench, finished_results};

use self::model::{Action, Model, Run, Verdict};
use self::screen::{Screen, has_keyboard};
pub use self::screen::{check, is_open, leave};
use self::view::{Theme, draw};
use super::exit::{FAILURE, Failure};
use super::say::tell;
use super::{Interrupt, on_interrupt};

/// How often keys are looked for.
const KEY_TICK: Duration = Duration::from_millis(50);

/// How often it is drawn without a key.
const TICK: Duration = Duration::from_millis(200);

/// How long the run waits at its end for a terminal that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Results of other processes, or of before, that are read between two pictures.
const RESULTS: usize = 1000;

/// A run on the terminal, until it is dropped.
pub struct Dashboard {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the run's threads and the one that draws share.
struct Shared {
    model: Mutex<Model>,
    /// There are results that the model does not know.
    results: AtomicBool,
    closing: AtomicBool,
}

impl Shared {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Dashboard {
    /// Takes the terminal for the run in folder `out`.
    pub fn open(
        config: &RunConfig,
        out: PathBuf,
        sessions: usize,
        bench: &Workbench,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let run = Run {
            name: config.run.name.clone(),
            model: bench.model.name.clone(),
            device: bench.device(),
            cells: config.cells().iter().map(|cell| cell.name.clone()).collect(),
            sessions,
        };
        let screen = Screen::open().map_err(|e| {
            Failure::message(FAILURE, format!("cannot draw on this terminal: {e}; leave --tui out"))
        })?;
        let shared = Arc::new(Shared {
            model: Mutex::new(Model::new(run, Instant::now())),
            results: AtomicBool::new(true),
            closing: AtomicBool::new(false),
        });
        let painter = Painter {
            screen,
            shared: shared.clone(),
            clients: bench.clients(),
            out,
            interrupt: interrupt.clone(),
            // https://no-color.org: any value but an empty one.
            theme: Theme { color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) },
        };
        let thread = std::thread::spawn(move || painter.work());
        Ok(Self { shared, thread })
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        let asked = Instant::now();
        while !self.thread.is_finished() && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        leave();
    }
}

impl Progress for Dashboard {
    fn run_started(&self, total: usize, finished: usize) {
        self.shared.model().run_started(total, finished);
    }

    fn session_started(&self, job: &SessionJob) {
        self.shared.model().session_started(job.index, &job.task.id, &job.cell.name, Instant::now());
    }

    fn step(&self, step: &StepProgress) {
        self.shared.model().step(step);
    }

    fn session_finished(&self, index: usize, result: &ResultRow, _timing: &TimingRow) {
        self.shared.model().session_finished(index, result, Instant::now());
    }

    fn session_left(&self, index: usize) {
        self.shared.model().session_left(index, Instant::now());
    }

    fn others(&self, finished: usize, held: usize) {
        self.shared.model().others(finished, held);
        if finished > 0 {
            self.shared.results.store(true, Ordering::SeqCst);
        }
    }
}

/// Reads keys and draws.
struct Painter {
    screen: Screen,
    shared: Arc<Shared>,
    clients: Vec<Client>,
    out: PathBuf,
    interrupt: Interrupt,
    theme: Theme,
}

impl Painter {
    /// Works until the dashboard is closed, or the terminal is gone; the run goes on without it.
    fn work(mut self) {
        if let Err(error) = self.watch() {
            leave();
            tell!("the dashboard has lost its terminal ({error}); the run goes on");
        }
    }

    fn watch(&mut self) -> io::Result<()> {
        let mut next = Instant::now();
        while !self.shared.closing.load(Ordering::SeqCst) {
            let pressed = self.read_keys()?;
            if pressed || Instant::now() >= next {
                self.read_results();
                if !self.draw()? {
                    break;
                }
                next = Instant::now() + TICK;
            }
            std::thread::park_timeout(KEY_TICK);
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<bool> {
        let tokens = |client: &Client| client.stats().generated_tokens.load(Ordering::Relaxed);
        let tokens: u64 = self.clients.iter().map(tokens).sum();
        let (shared, theme) = (&self.shared, self.theme);
        let stopping = self.interrupt.load(Ordering::SeqCst);
        // The model is free again before the picture goes out.
        self.screen.draw(|frame| {
            let now = Instant::now();
            let mut model = shared.model();
            model.generated(tokens, now);
            model.stopping = stopping;
            let extents = draw(frame, &model, theme, now);
            model.drawn(extents);
        })
    }

    /// Does what the keys say that were pressed; false when there were none.
    fn read_keys(&self) -> io::Result<bool> {
        // Of a terminal that is gone, crossterm would read for ever. So it never waits for one either.
        if !has_keyboard() {
            return Err(io::Error::other("it is gone"));
        }
        let mut pressed = false;
        while event::poll(Duration::ZERO)? {
            pressed = true;
            if let Event::Key(key) = event::read()? {
                let action = self.shared.model().key(key);
                if action == Action::Interrupt {
                    on_interrupt(&self.interrupt);
                }
            }
        }
        Ok(pressed)
    }

    /// Takes some of the results that this process did not compute.
    fn read_results(&self) {
        if !self.shared.results.swap(false, Ordering::SeqCst) {
            return;
        }
        let known: Vec<bool> = {
            let model = self.shared.model();
            (0..model.run.sessions).map(|index| model.knows(index)).collect()
        };
        // What cannot be read stops the run where it matters; here it is only missing from a rate.
        let Ok(results) = finished_results(&self.out, known.len(), |index| known[index], RESULTS) else {
            return;
        };
        if results.len() == RESULTS {
            self.shared.results.store(true, Ordering::SeqCst);
        }
        let mut model = self.shared.model();
        for (index, result) in results {
            model.result(index, Verdict::of(&result));
        }
    }
}
