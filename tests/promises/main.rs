//! Promises across crates, one module a promise.
//!
//! - `board`: the board's program answers as the trainer does, and fails in one clear line.
//! - `book`: every command of the book that a test can run does.
//! - `deploy`: what is deployed has answered on the board first; whatever fails, the board has what it had.
//! - `dist`: what people download is whole, runs, and is the same bytes for the same sources.
//! - `directions`: modules depend on each other in one direction.
//! - `export`: every network exports to a file that the board's engine runs to the trainer's logits.
//! - `lint`: it says what it found, exits as it says, and changes nothing.
//! - `make`: one command goes from pictures to a model that has run, and says each step as it is typed.
//! - `mc_loss`: the loss and its gradients are the paper's, to `PyTorch`'s last digits.
//! - `ops`: every differentiable operation is `PyTorch`'s, forward and backward.
//! - `report`: a report is one file of its run, and the run stays a run.
//! - `resume`: a killed run ends in the same bits; threads change nothing.
//! - `serve`: over HTTP it answers as from the command line, and no request breaks it.
//! - `stopped`: a full disk, an interrupt, a lost folder or too little memory ends a run in one clear line, and it goes on.
//! - `stock_candle`: what candle gets wrong, and why `ops` exists; fails when an upgrade mends it.
//! - `threads`: a training step gives the same bits on any number of threads.
//! - `unknown`: what trainings without some classes find becomes the model's threshold, and the board answers by it.
//!
//! `golden` reads the committed numbers of `tests/golden/`, each beside the script that made it; `program` starts our
//! programs.

// For the example `marks`, which runs without std too.
extern crate alloc;

mod golden;
mod program;

mod board;
#[cfg(unix)]
mod book;
// For the board that this machine can be.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod deploy;
mod directions;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod dist;
mod eval;
mod export;
mod lint;
mod make;
mod mc_loss;
mod ops;
mod report;
mod resume;
#[cfg(unix)]
mod serve;
mod stock_candle;
mod stopped;
mod threads;
mod unknown;
mod weights;
