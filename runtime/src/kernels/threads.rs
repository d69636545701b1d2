//! A team of threads whose caller never waits for one that has not begun.
//!
//! Tasks are claimed one by one. The caller claims too, until none is left, and then waits only for tasks that others
//! have claimed: a worker that gets no processor claims nothing and delays nobody. Workers look for tasks for a
//! moment after the last one and then sleep, so that the many short steps of a network wake them once.

use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::team::Team;

/// How long a worker looks for tasks before it sleeps: longer than a step's serial part, shorter than decoding a picture.
const AWAKE: Duration = Duration::from_micros(300);

type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Threads that wait for work.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One caller at a time; others do their tasks alone.
    busy: Mutex<()>,
}

struct Shared {
    /// Tasks of the current job, 24 bits each: all of them, and the next one to claim; above them the job's number,
    /// so that a late claim of an old job fails.
    state: AtomicU64,
    done: AtomicUsize,
    /// The current job, alive while a claimed task of it is not done.
    work: UnsafeCell<Option<Work<'static>>>,
    asleep: Vec<AtomicBool>,
    /// The processor that the caller was on when it woke a worker.
    caller: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
}

// Safety: `work` is written by the one caller while no task is claimed or claimable, and read by those who claimed one.
#[allow(unsafe_code, reason = "a job is borrowed from the caller's stack, which std has no safe way for")]
unsafe impl Sync for Shared {}

const BITS: u32 = 24;
const MASK: u64 = (1 << BITS) - 1;

impl Shared {
    fn claim(&self) -> Option<usize> {
        let mut state = self.state.load(Acquire);
        loop {
            let (all, next) = (state >> BITS & MASK, state & MASK);
            if next >= all {
                return None;
            }
            match self.state.compare_exchange_weak(state, state + 1, AcqRel, Acquire) {
                Ok(_) => return Some(next as usize),
                Err(now) => state = now,
            }
        }
    }

    fn has_tasks(&self) -> bool {
        let state = self.state.load(SeqCst);
        state & MASK < state >> BITS & MASK
    }

    /// Does a worker's tasks until it is told to stop.
    fn attend(&self, member: usize) {
        let mut idle = Instant::now();
        while !self.stop.load(Relaxed) {
            if let Some(task) = self.claim() {
                // Safety: a task was claimed, so the job stands until it is done.
                #[allow(unsafe_code, reason = "see `Shared::work`")]
                let work = unsafe { (*self.work.get()).expect("a job before its tasks") };
                let attempt = std::panic::AssertUnwindSafe(|| work(member, task));
                if std::panic::catch_unwind(attempt).is_err() {
                    self.panicked.store(true, Relaxed);
                }
                self.done.fetch_add(1, Release);
                idle = Instant::now();
            } else if idle.elapsed() < AWAKE {
                (0..4).for_each(|_| spin_loop());
            } else {
                let asleep = &self.asleep[member - 1];
                asleep.store(true, SeqCst);
                while asleep.load(SeqCst) && !self.has_tasks() && !self.stop.load(SeqCst) {
                    thread::park();
                }
                asleep.store(false, SeqCst);
                leave(self.caller.load(Relaxed));
                idle = Instant::now();
            }
        }
    }
}

impl Threads {
    /// `members` threads, the caller included.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn new(members: usize) -> std::io::Result<Threads> {
        let others = members.saturating_sub(1);
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            work: UnsafeCell::new(None),
            asleep: (0..others).map(|_| AtomicBool::new(false)).collect(),
            caller: AtomicUsize::new(usize::MAX),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut threads = Threads { shared, workers: Vec::new(), busy: Mutex::new(()) };
        for member in 1..=others {
            let shared = Arc::clone(&threads.shared);
            let name = format!("kernels {member}");
            threads.workers.push(thread::Builder::new().name(name).spawn(move || shared.attend(member))?);
        }
        Ok(threads)
    }

    fn wake(&self) {
        for (asleep, worker) in self.shared.asleep.iter().zip(&self.workers) {
            if asleep.swap(false, SeqCst) {
                self.shared.caller.store(processor(), Relaxed);
                worker.thread().unpark();
            }
        }
    }
}

/// The processor that this thread is on; none that there is where the system does not say.
fn processor() -> usize {
    #[cfg(target_os = "linux")]
    return rustix::thread::sched_getcpu();
    #[cfg(not(target_os = "linux"))]
    return usize::MAX;
}

/// Goes to another processor if this is the one: Linux may wake a worker where the caller is busy, and some virtual machines
/// let the two take turns there for a whole run while another processor is idle.
fn leave(processor: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
        if processor >= CpuSet::MAX_CPU || sched_getcpu() != processor {
            return;
        }
        let Ok(all) = sched_getaffinity(None) else { return };
        let mut others = all;
        others.unset(processor);
        if others.count() > 0 && sched_setaffinity(None, &others).is_ok() {
            // From here on it may be anywhere again.
            let _ = sched_setaffinity(None, &all);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

impl Team for Threads {
    fn members(&self) -> usize {
        self.workers.len() + 1
    }

    fn share(&self, tasks: usize, work: Work) {
        let alone = || (0..tasks).for_each(|task| work(0, task));
        let all = tasks as u64;
        if self.workers.is_empty() || all <= 1 || all > MASK {
            return alone();
        }
        let Ok(_busy) = self.busy.try_lock() else { return alone() };
        let shared = &*self.shared;
        // Safety: `work` outlives the job: this function ends when all tasks are done, also where one panics.
        #[allow(unsafe_code, reason = "see `Shared::work`")]
        unsafe {
            *shared.work.get() = Some(std::mem::transmute::<Work<'_>, Work<'static>>(work));
        }
        shared.done.store(0, Relaxed);
        let job = (shared.state.load(Relaxed) >> (2 * BITS)) + 1;
        shared.state.store(job << (2 * BITS) | all << BITS, SeqCst);
        self.wake();
        while let Some(task) = shared.claim() {
            let attempt = std::panic::AssertUnwindSafe(|| work(0, task));
            if std::panic::catch_unwind(attempt).is_err() {
                shared.panicked.store(true, Relaxed);
            }
            shared.done.fetch_add(1, Release);
        }
        let mut turns = 0_u32;
        while shared.done.load(Acquire) < tasks {
            turns += 1;
            if turns.is_multiple_of(1024) { thread::yield_now() } else { spin_loop() }
        }
        assert!(!shared.panicked.swap(false, Relaxed), "a task of a step panicked");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads", self.members())
    }
}
