//! Work done ahead by threads, delivered in order, never more than a few pieces ahead.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A thread panicked.
#[derive(Debug)]
pub struct Panicked;

/// Results of `make(i)` for each `i` of a range, in its order.
///
/// A plain channel would not do: while one thread is slow with the next piece, the others could run ahead without
/// bound. Here nobody starts a piece that is more than a window past the last one delivered.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Rung when a piece is ready, and when a thread panicked.
    ready: Condvar,
    /// Rung when there is room for another piece, and at the end.
    room: Condvar,
    window: usize,
}

struct State<T> {
    /// The next piece to start.
    next: usize,
    /// The next piece to deliver.
    due: usize,
    end: usize,
    done: BTreeMap<usize, T>,
    is_stopped: bool,
    has_panicked: bool,
}

impl<T> Shared<T> {
    /// The state; a thread that panicked was not holding it.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece to make, once there is room for it; `None` at the end.
    fn claim(&self) -> Option<usize> {
        let is_full = |state: &mut State<T>| {
            !state.is_stopped && state.next < state.end && state.next >= state.due + self.window
        };
        let mut state = self.room.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped || state.next >= state.end {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }
}

/// Tells the consumer, who would wait for ever, when a thread unwinds.
struct Watch<'a, T>(&'a Shared<T>);

impl<T> Drop for Watch<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().has_panicked = true;
            self.0.ready.notify_all();
        }
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Starts `threads` threads that make the pieces of `range`.
    pub fn start(
        range: Range<usize>,
        threads: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Queue<T> {
        let state = State {
            next: range.start,
            due: range.start,
            end: range.end,
            done: BTreeMap::new(),
            is_stopped: false,
            has_panicked: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            ready: Condvar::new(),
            room: Condvar::new(),
            window: threads + 2,
        };
        let (shared, make) = (Arc::new(shared), Arc::new(make));
        let threads = (0..threads.min(range.len())).map(|_| {
            let (shared, make) = (Arc::clone(&shared), Arc::clone(&make));
            std::thread::spawn(move || {
                let watch = Watch(&shared);
                while let Some(piece) = watch.0.claim() {
                    let made = make(piece);
                    watch.0.lock().done.insert(piece, made);
                    watch.0.ready.notify_all();
                }
            })
        });
        Queue { threads: threads.collect(), shared }
    }

    /// The next piece, waited for; `None` after the last.
    ///
    /// # Errors
    /// A thread panicked; nothing more comes.
    pub fn next(&mut self) -> Result<Option<T>, Panicked> {
        let is_waiting = |state: &mut State<T>| {
            state.due < state.end
                && !state.has_panicked
                && !state.is_stopped
                && !state.done.contains_key(&state.due)
        };
        let waited = self.shared.ready.wait_while(self.shared.lock(), is_waiting);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            return Ok(None);
        }
        let due = state.due;
        if let Some(piece) = state.done.remove(&due) {
            state.due += 1;
            self.shared.room.notify_all();
            return Ok(Some(piece));
        }
        if state.due < state.end {
            state.is_stopped = true;
            self.shared.room.notify_all();
            return Err(Panicked);
        }
        Ok(None)
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was told by `next`, or nobody asked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn pieces_come_in_order_however_long_each_takes() {
        for threads in [1, 2, 7] {
            let spin = |piece: usize| {
                (0..(piece * 7919) % 50_000).fold(piece, |sum, value| std::hint::black_box(sum ^ value))
            };
            let mut queue = Queue::start(3..60, threads, move |piece| (piece, spin(piece)).0);
            let pieces: Vec<usize> = std::iter::from_fn(|| queue.next().unwrap()).collect();
            assert_eq!(pieces, (3..60).collect::<Vec<_>>());
            assert!(queue.next().unwrap().is_none());
        }
    }

    #[test]
    fn nobody_runs_further_ahead_than_the_window() {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&started);
        let mut queue = Queue::start(0..1000, 3, move |_| counter.fetch_add(1, Ordering::SeqCst));
        for delivered in 1..200 {
            queue.next().unwrap().unwrap();
            assert!(started.load(Ordering::SeqCst) <= delivered + 5);
        }
    }

    #[test]
    fn a_panic_ends_the_queue_instead_of_hanging_it() {
        let mut queue = Queue::start(0..100, 2, |piece| {
            assert!(piece != 5, "the test's own panic");
            piece
        });
        let mut delivered = 0;
        while let Ok(Some(_)) = queue.next() {
            delivered += 1;
        }
        assert!(delivered <= 5, "{delivered}");
        assert!(queue.next().unwrap().is_none());
    }

    #[test]
    fn an_empty_range_ends_at_once() {
        assert!(Queue::start(4..4, 2, |piece| piece).next().unwrap().is_none());
    }
}
