//! Exit codes.

/// What the program ends with. 5 is kept for input devices, which it does not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is done.
    Done = 0,
    /// Some inputs failed, the rest were processed; or results could not be written.
    SomeFailed = 1,
    /// What was typed makes no sense.
    Usage = 2,
    /// The model was refused.
    ModelRefused = 3,
    /// The model gives other answers here than where it was trained, or nobody can tell.
    SelfTestFailed = 4,
    /// Every input that failed was refused for its size.
    Limit = 6,
}
