//! Who does the tasks of a step.

/// The caller, and those that help.
pub trait Team: Sync {
    /// Members, the caller included.
    fn members(&self) -> usize;

    /// Does tasks `0..tasks`, each once, and returns when all are done. `work(member, task)`: no two tasks of
    /// a call run at the same time under one member's number, which is below [`Team::members`].
    fn share(&self, tasks: usize, work: &(dyn Fn(usize, usize) + Sync));
}

/// The caller alone.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Team for Alone {
    fn members(&self) -> usize {
        1
    }

    fn share(&self, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) {
        (0..tasks).for_each(|task| work(0, task));
    }
}
