//! Kernels stay inside of their buffers: while a thread asks for it, everything that it allocates ends exactly at a
//! page that nobody may touch, or begins right after one. A step over the edge ends the test program (SIGSEGV).
//!
//! Weights, the arena, pictures and results are allocations of their own; inside of the arena, its first and its last
//! buffer are guarded, which the drawn sizes make of inputs and outputs alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Edge {
    None,
    /// Buffers begin right after a page that is not there.
    Start,
    /// Buffers end where a page begins that is not there.
    End,
}

thread_local! {
    static EDGE: Cell<Edge> = const { Cell::new(Edge::None) };
}

struct Guarded;

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

/// Addresses that are taken once each, never again: what is read after it was freed is found, too.
const RESERVED: usize = 1 << 36;
const PAGE: usize = 4096;
static TAKEN: AtomicUsize = AtomicUsize::new(PAGE);

fn reserved() -> Range<usize> {
    static START: OnceLock<usize> = OnceLock::new();
    let start = *START.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // Safety: a new mapping takes no one's memory.
        unsafe { libc::mmap(null_mut(), RESERVED, libc::PROT_NONE, flags, -1, 0).addr() }
    });
    start..start + RESERVED
}

// Safety: blocks are the system's, or pages that are given once.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let edge = EDGE.get();
        if edge == Edge::None {
            // Safety: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let length = layout.size().next_multiple_of(PAGE);
        let at = TAKEN.fetch_add(length + PAGE, Ordering::Relaxed);
        if at + length + PAGE > RESERVED || layout.align() > PAGE {
            return null_mut();
        }
        let first = (reserved().start + at) as *mut u8;
        // Safety: pages of ours that nobody has yet; the one after them stays as it is, without access.
        unsafe {
            if libc::mprotect(first.cast(), length, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return null_mut();
            }
            let slack = length - layout.size();
            first.add(if edge == Edge::End { slack - slack % layout.align() } else { 0 })
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !reserved().contains(&block.addr()) {
            // Safety: the system's, then.
            return unsafe { System.dealloc(block, layout) };
        }
        let first = block.addr() / PAGE * PAGE;
        let length = layout.size().next_multiple_of(PAGE);
        // Safety: the block's own pages, which nobody uses from here on. Mapping anew gives their memory back.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
            libc::mmap(first as *mut libc::c_void, length, libc::PROT_NONE, flags, -1, 0);
        }
    }
}

/// What `work` gives, its buffers at an edge.
fn at_edge<T>(edge: Edge, work: impl FnOnce() -> T) -> T {
    EDGE.set(edge);
    let result = work();
    EDGE.set(Edge::None);
    result
}

/// Builds the network and runs it once for every edge and instruction set, its inputs at edges, too.
fn runs_at_edges(inputs: &[Vec<f32>], len: usize, build: impl Fn(Isa, Storage, usize) -> Network) {
    for isa in available() {
        for (storage, threads) in
            [(Storage::Single, 1), (Storage::Single, 3), (Storage::Half, 1), (Storage::HalfProducts, 1)]
        {
            let plain: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let expected = outcome(&build(isa, storage, threads), &Alone, &plain, len);
            for edge in [Edge::Start, Edge::End] {
                let ours = at_edge(edge, || {
                    let own: Vec<Vec<f32>> = plain.iter().map(|values| values.to_vec()).collect();
                    let own: Vec<&[f32]> = own.iter().map(Vec::as_slice).collect();
                    outcome(&build(isa, storage, threads), &Alone, &own, len)
                });
                assert!(ours == expected, "{isa}, {storage:?}, {threads} threads, {edge:?}");
            }
        }
    }
}

#[test]
fn convolutions_stay_inside_of_their_buffers() {
    let mut draw = Draw(19);
    for _ in 0..120 {
        let (size, convolution) = draw_convolution(&mut draw);
        let [height, width] = convolution.output;
        let result = [convolution.bias.len(), height, width];
        let mut inputs = vec![draw.floats(size.iter().product())];
        if draw.upto(2) == 1 {
            inputs.push(draw.floats(result.iter().product()));
        }
        runs_at_edges(&inputs, result.iter().product(), |isa, storage, threads| {
            network_of(isa, storage, threads, size, &convolution, inputs.len() > 1)
        });
    }
}

#[test]
fn winograds_tiles_stay_inside_of_their_buffers() {
    let mut draw = Draw(23);
    for (side, channels, outputs) in [([13, 15], 16, 16), ([17, 14], 24, 40), ([28, 12], 70, 33)] {
        let convolution = square(&mut draw, channels, outputs, side);
        let x = draw.floats(channels * side[0] * side[1]);
        runs_at_edges(&[x], outputs * side[0] * side[1], |isa, storage, threads| {
            network_of(isa, storage, threads, [channels, side[0], side[1]], &convolution, false)
        });
    }
}

#[test]
fn separable_convolutions_pools_sums_and_borders_stay_inside_of_their_buffers() {
    let mut draw = Draw(29);
    let side = [60, 47];
    let whole = separable(&mut draw, 8, side, (3, 1, 1));
    for [expands, projects] in PARTS {
        let parts = parts(&whole, [expands, projects]);
        let [channels, outputs] = [expands, projects].map(|is_narrow| if is_narrow { 8 } else { 72 });
        let x = draw.floats(channels * side[0] * side[1]);
        runs_at_edges(&[x], outputs * side[0] * side[1], |isa, storage, threads| {
            let mut builder = Builder::new(isa, storage, threads);
            let value = builder.input([channels, side[0], side[1]]);
            let value = convolve_all(&mut builder, value, &parts, None);
            builder.output(value);
            builder.finish()
        });
    }
    let image = draw.floats(3 * 40 * 36);
    runs_at_edges(&[image], 24 * 90, |isa, _, threads| small(isa, threads).0);
}
