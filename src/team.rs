//! A team of threads for loops that last microseconds.
//!
//! A forward pass is some hundred parallel loops of 20 to 500 µs, one after the other. A pool that puts its threads to
//! sleep in between pays for waking them each time, tens of microseconds on a virtual machine. Here the members
//! spin for a moment before they sleep, the caller works too, and it never waits for a member that has not begun.
//!
//! A thread has a team inside [`Team::install`]. Everywhere else, and inside a loop's body, loops run on the thread that
//! asks. Which thread does which part is left to chance; bodies must not let it matter.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a member looks for the next loop before it sleeps.
const AWAKE: Duration = Duration::from_micros(300);

/// Looks at a value between two calls of the system's scheduler.
const LOOKS: usize = 64;

/// Some threads that wait to help with loops.
pub struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    /// One thread at a time has loops for a team.
    not_sync: PhantomData<Cell<()>>,
}

struct Shared {
    /// Number of the loop, how many members are in it, and whether more may join.
    state: AtomicU64,
    /// The loop's body; points to a live one while a member is in the loop or may join.
    body: AtomicPtr<&'static (dyn Fn() + Sync)>,
    members: Vec<Member>,
    ends: AtomicBool,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

struct Member {
    sleeps: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// Set in [`Shared::state`] while members may join.
const OPEN: u64 = 1;
/// One member, in [`Shared::state`].
const ONE: u64 = 2;
/// The lowest bit of the loop's number.
const LOOP: u64 = 1 << 16;

thread_local! {
    static CURRENT: Cell<*const Team> = const { Cell::new(std::ptr::null()) };
}

impl Team {
    /// A team of `threads` threads, the one that calls among them. A system that gives no more makes it smaller.
    pub fn new(threads: usize) -> Self {
        let count = threads.clamp(1, (LOOP / ONE) as usize - 1) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            body: AtomicPtr::new(std::ptr::null_mut()),
            members: (0..count)
                .map(|_| Member { sleeps: AtomicBool::new(false), thread: Mutex::new(None) })
                .collect(),
            ends: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let start = |index: usize| {
            let shared = shared.clone();
            let member = thread::Builder::new().name(format!("engine-{}", index + 1));
            member.spawn(move || shared.help(index)).ok()
        };
        let members = (0..count).map_while(start).collect();
        Self { shared, members, not_sync: PhantomData }
    }

    /// Runs `body` with this team for its loops.
    pub fn install<R>(&self, body: impl FnOnce() -> R) -> R {
        let _before = Lent(CURRENT.replace(self));
        body()
    }

    /// Runs `body` on this thread and on every member that comes before it ends here.
    fn run(&self, body: &(dyn Fn() + Sync)) {
        struct Closed<'a>(&'a Shared);
        impl Drop for Closed<'_> {
            /// Lets nobody else in and waits for those inside, also when the body panics.
            fn drop(&mut self) {
                self.0.state.fetch_and(!OPEN, AcqRel);
                let mut looks = 0;
                while !self.0.state.load(Acquire).is_multiple_of(LOOP) {
                    pause(&mut looks);
                }
            }
        }
        let mut body: &(dyn Fn() + Sync) = body;
        let shared = &*self.shared;
        shared.body.store((&raw mut body).cast(), Relaxed);
        let number = shared.state.load(Relaxed) / LOOP + 1;
        shared.state.store((number * LOOP) | OPEN, SeqCst);
        let closed = Closed(shared);
        for member in &shared.members {
            if member.sleeps.load(SeqCst)
                && member.sleeps.swap(false, SeqCst)
                && let Some(thread) = &*lock(&member.thread)
            {
                thread.unpark();
            }
        }
        body();
        drop(closed);
        if let Some(panic) = lock(&shared.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.ends.store(true, SeqCst);
        for member in self.members.drain(..) {
            member.thread().unpark();
            // A member catches its panics.
            let _ = member.join();
        }
    }
}

impl Shared {
    /// A member's life.
    fn help(&self, index: usize) {
        let me = &self.members[index];
        *lock(&me.thread) = Some(thread::current());
        let (mut last, mut looks, mut since) = (0, 0, Instant::now());
        while !self.ends.load(SeqCst) {
            let state = self.state.load(Acquire);
            let is_new = state & OPEN != 0 && state / LOOP != last;
            if is_new && self.state.compare_exchange(state, state + ONE, AcqRel, Relaxed).is_ok() {
                last = state / LOOP;
                // SAFETY: the loop is open with this member in it, so its body lives until the member leaves.
                let body = unsafe { *self.body.load(Relaxed) };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                    *lock(&self.panic) = Some(panic);
                }
                self.state.fetch_sub(ONE, Release);
                (looks, since) = (0, Instant::now());
            } else if is_new || looks % LOOKS != 0 || since.elapsed() < AWAKE {
                pause(&mut looks);
            } else {
                me.sleeps.store(true, SeqCst);
                // A loop that opened meanwhile may not have seen that this member sleeps.
                let state = self.state.load(SeqCst);
                if (state & OPEN == 0 || state / LOOP == last) && !self.ends.load(SeqCst) {
                    thread::park();
                }
                me.sleeps.store(false, SeqCst);
                (looks, since) = (0, Instant::now());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits a moment; now and then another program may have the processor.
fn pause(looks: &mut usize) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS) {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// The team of this thread, which gets it back when `Lent` goes.
fn borrow() -> Lent {
    Lent(CURRENT.replace(std::ptr::null()))
}

/// What a thread's team was before, and will be again. While a loop uses the team, the thread has none: loops in its body
/// run where they are.
struct Lent(*const Team);

impl Lent {
    fn team(&self) -> Option<&Team> {
        // SAFETY: a team is current only while `install` borrows it, and `Lent` stays in functions called from there.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Threads that share the loops of this thread.
pub fn threads() -> usize {
    borrow().team().map_or(1, |team| team.members.len() + 1)
}

/// Calls `work` for each of 0 to `count`, on all threads of the team; each that takes part makes a state of its own
/// first. A thread takes neighbours at a time: many at first, few towards the end.
pub fn share<S>(count: usize, init: impl Fn() -> S + Sync, work: impl Fn(&mut S, usize) + Sync) {
    let lent = borrow();
    let Some(team) = lent.team().filter(|team| !team.members.is_empty() && count > 1) else {
        drop(lent);
        let mut state = init();
        return (0..count).for_each(|index| work(&mut state, index));
    };
    let threads = team.members.len() + 1;
    let next = AtomicUsize::new(0);
    let taken = |first: usize| first + ((count - first) / (2 * threads)).max(1);
    team.run(&|| {
        let mut state = None;
        while let Ok(first) =
            next.fetch_update(Relaxed, Relaxed, |first| (first < count).then(|| taken(first)))
        {
            let state = state.get_or_insert_with(&init);
            (first..taken(first)).for_each(|index| work(state, index));
        }
    });
}

/// Calls `work` for each item, on all threads of the team.
pub fn each<I>(items: I, work: impl Fn(I::Item) + Sync)
where
    I: ExactSizeIterator,
    I::Item: Send,
{
    if items.len() <= 1 || threads() == 1 {
        return items.for_each(work);
    }
    let items: Vec<Mutex<Option<I::Item>>> = items.map(|item| Mutex::new(Some(item))).collect();
    let take = |index: usize| lock(&items[index]).take();
    share(items.len(), || (), |(), index| take(index).into_iter().for_each(&work));
}

/// What `work` makes of each item, in their order; on all threads of the team.
pub fn map<I, R>(items: I, work: impl Fn(I::Item) -> R + Sync) -> Vec<R>
where
    I: ExactSizeIterator,
    I::Item: Send,
    R: Send,
{
    let mut results: Vec<Option<R>> = (0..items.len()).map(|_| None).collect();
    each(items.zip(results.iter_mut()), |(item, result)| *result = Some(work(item)));
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once_whatever_the_team() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads);
            team.install(|| {
                assert_eq!(super::threads(), threads);
                for count in [0, 1, 2, 7, 1000] {
                    for _ in 0..50 {
                        let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        share(
                            count,
                            || (),
                            |(), index| {
                                seen[index].fetch_add(1, Relaxed);
                            },
                        );
                        assert!(seen.iter().all(|n| n.load(Relaxed) == 1), "{threads} threads, {count}");
                    }
                }
                let squares = map(0..100usize, |i| i * i);
                assert_eq!(squares, (0..100).map(|i| i * i).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn members_help_and_wake_again() {
        let team = Team::new(2);
        let both_come = || {
            let started = AtomicUsize::new(0);
            // Each index waits for the other: one thread alone would never end.
            share(
                2,
                || (),
                |(), _| {
                    started.fetch_add(1, SeqCst);
                    while started.load(SeqCst) < 2 {
                        thread::yield_now();
                    }
                },
            );
        };
        team.install(|| {
            both_come();
            thread::sleep(3 * AWAKE);
            both_come();
        });
    }

    #[test]
    fn loops_in_loops_run_where_they_are() {
        let team = Team::new(3);
        let total = AtomicUsize::new(0);
        team.install(|| {
            share(
                10,
                || (),
                |(), _| {
                    assert_eq!(threads(), 1);
                    share(
                        10,
                        || (),
                        |(), index| {
                            total.fetch_add(index, Relaxed);
                        },
                    );
                },
            );
            assert_eq!(threads(), 3);
        });
        assert_eq!((total.into_inner(), threads()), (450, 1));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2);
        team.install(|| {
            for bad in 0..20 {
                let run = || share(20, || (), |(), index| assert_ne!(index, bad, "as it should"));
                assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
                assert_eq!(map(0..20, |i| i).len(), 20);
            }
        });
    }
}
